/** A disk as a virtio-blk device. */
import type { DiskSpec } from '@kvasir/contract'
import type { DiskDevice, DiskInput } from './disk-device.ts'
import type { DiskPlan } from './disk-plan.ts'
import { errorPolicy } from './error-policy.ts'
import { deviceId } from './ids.ts'
import type { PciBus } from './pci-bus.ts'

/** More queues than this bring nothing to one disk. */
const mostDiskQueues = 16

/** How many queues a disk has: as its spec says, or one for each vCPU. */
export function queuesOf({ queues }: Pick<DiskSpec, 'queues'>, { spec }: Pick<DiskInput, 'spec'>): number {
  return queues ?? Math.min(spec.cpu.count, mostDiskQueues)
}

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
      'num-queues': queuesOf(device.disk, input),
      'share-rw': device.disk.shareable === true ? true : undefined,
      discard: device.disk.discard === 'unmap',
      'write-cache': 'on',
      ...errorPolicy(device.disk),
    },
  ]
}
