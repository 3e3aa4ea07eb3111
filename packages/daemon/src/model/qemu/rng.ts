/** A source of entropy for the guest. rng-builtin asks the kernel by a system call, so the cage needs no device node. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

const bytesPerSecond = 64 * 1024

/** The arguments for the entropy device: virtio-rng hands out `max-bytes` in each `period` of milliseconds. */
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
      'max-bytes': input.spec.devices.rngBytesPerSecond ?? bytesPerSecond,
      period: 1000,
    }),
  ]
}
