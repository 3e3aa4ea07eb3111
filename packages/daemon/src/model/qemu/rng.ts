/** A source of entropy for the guest. rng-builtin asks the kernel by a system call, so the cage needs no device node. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The arguments for the entropy device; a guest gets at most 64 KiB a second. */
export function rngArgs({ input, bus }: BuildContext): readonly string[] {
  if (!input.spec.devices.rng) return []
  return [
    ...jsonOption('-object', { 'qom-type': 'rng-builtin', id: 'entropy' }),
    ...jsonOption('-device', {
      driver: 'virtio-rng-pci',
      id: 'rng',
      ...bus.place('rng'),
      'disable-legacy': 'on',
      rng: 'entropy',
      'max-bytes': 65536,
      period: 1000,
    }),
  ]
}
