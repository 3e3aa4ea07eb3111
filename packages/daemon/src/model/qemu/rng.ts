/** A source of entropy for the guest. rng-builtin asks the kernel by a system call, so the cage needs no device node. */
import type { VmSpec } from '@kvasir/contract'
import type { PciBus } from './pci-bus.ts'

/** The id of what it reads. */
export const entropyId = 'entropy'
const bytesPerSecond = 64 * 1024

/** Where the entropy is from. */
export const rngObject = { 'qom-type': 'rng-builtin', id: entropyId } as const

/** What the guest gets in a second. */
export function rngBytesPerSecond(devices: VmSpec['devices']): number {
  return devices.rngBytesPerSecond ?? bytesPerSecond
}

/** The entropy device: virtio-rng hands out `max-bytes` in each `period` of milliseconds. */
export function rngDevice(devices: VmSpec['devices'], bus: PciBus) {
  return {
    driver: 'virtio-rng-pci',
    id: 'rng',
    ...bus.place('rng'),
    'disable-legacy': 'on',
    rng: entropyId,
    'max-bytes': rngBytesPerSecond(devices),
    period: 1000,
  }
}
