/**
 * A disk on virtio-scsi. Each has a controller of its own, since a controller has one I/O thread; a disk is always target 0, so
 * there are no target numbers to keep.
 */
import type { DiskDevice, DiskInput } from './disk.ts'
import type { DiskPlan } from './disk-plan.ts'
import { deviceId } from './ids.ts'
import type { PciBus } from './pci-bus.ts'
import { mostDiskQueues } from './virtio-blk.ts'

/** The controller of a disk and the disk on it. */
export function virtioScsiDevices(
  device: DiskDevice,
  { input, bus }: { readonly input: DiskInput; readonly bus: PciBus },
): DiskPlan['devices'] {
  const id = deviceId('disk', device.disk.name)
  const controller = deviceId('scsi', device.disk.name)
  return [
    {
      driver: 'virtio-scsi-pci',
      id: controller,
      ...bus.place(id),
      'disable-legacy': 'on',
      iothread: device.ioThread,
      num_queues: Math.min(input.spec.cpu.count, mostDiskQueues),
    },
    {
      driver: 'scsi-hd',
      id,
      bus: `${controller}.0`,
      channel: 0,
      'scsi-id': 0,
      lun: 0,
      drive: device.node,
      serial: device.serial,
      device_id: device.serial,
      bootindex: device.bootIndex,
      'write-cache': 'on',
      werror: 'stop',
      rerror: 'stop',
    },
  ]
}
