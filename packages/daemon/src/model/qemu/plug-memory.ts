/**
 * The virtio-mem device that memory is plugged into while the guest runs. Only VMs with `memory.max` have it.
 *
 * Pages of its backend are there once the guest has been given their block and writes to it; the kernel counts the region as a
 * commitment, since `reserve=off` needs a /proc, which the cage has not. Legacy guests, which would read blocks that are not plugged,
 * are not served (`unplugged-inaccessible`).
 */
import { KvasirError, plugBlockBytes } from '@kvasir/contract'
import type { BuildContext } from './build-context.ts'
import { plugBackendId, plugMemoryId } from './ids.ts'
import { memoryBackend } from './memory.ts'
import { jsonOption } from './options.ts'

/** The arguments for the device; refuses it with `unsupported` on a microvm, which has no place for it. */
export function plugMemoryArgs({ input, bus }: BuildContext): readonly string[] {
  const { plugMemory } = input.hardware
  if (plugMemory === undefined) return []
  if (input.spec.machine.type === 'microvm')
    throw new KvasirError(
      'unsupported',
      `VM ${input.name} is a microvm, into which no memory can be plugged, so memory.max cannot be kept.`,
      { details: { field: 'memory.max' } },
    )
  return [
    ...jsonOption(
      '-object',
      memoryBackend(input.spec, { id: plugBackendId, size: plugMemory.regionBytes, isPlugged: true }),
    ),
    ...jsonOption('-device', {
      driver: 'virtio-mem-pci',
      id: plugMemoryId,
      ...bus.place(plugMemoryId),
      'disable-legacy': 'on',
      memdev: plugBackendId,
      'block-size': plugBlockBytes,
      'requested-size': 0,
      'unplugged-inaccessible': 'on',
    }),
  ]
}
