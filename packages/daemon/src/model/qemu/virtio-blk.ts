/** A disk as a virtio-blk device. */
import type { DiskDevice, DiskInput } from './disk.ts'
import type { DiskPlan } from './disk-plan.ts'
import { deviceId } from './ids.ts'
import type { PciBus } from './pci-bus.ts'

/** More queues than this bring nothing to one disk. */
export const mostDiskQueues = 16

/** The virtio-blk device of a disk. */
export function virtioBlkDevices(
  device: DiskDevice,
  { input, bus }: { readonly input: DiskInput; readonly bus: PciBus },
): DiskPlan['devices'] {
  const id = deviceId('disk', device.disk.name)
  return [
    {
      driver: 'virtio-blk-pci',
      id,
      ...bus.place(id),
      'disable-legacy': 'on',
      drive: device.node,
      serial: device.serial,
      bootindex: device.bootIndex,
      iothread: device.ioThread,
      'num-queues': Math.min(input.spec.cpu.count, mostDiskQueues),
      discard: device.disk.discard === 'unmap',
      'write-cache': 'on',
      // A guest whose storage fails is paused with its request kept, never given an I/O error.
      werror: 'stop',
      rerror: 'stop',
    },
  ]
}
