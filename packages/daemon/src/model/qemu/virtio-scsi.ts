/**
 * A disk on virtio-scsi: on a controller of its own, since a controller has one I/O thread, or one of the LUNs of a controller that
 * disks share. A disk is always on target 0.
 */
import { isCdrom } from '@kvasir/contract'
import { slotOf } from '../pci/layout.ts'
import type { DiskDevice, DiskInput } from './disk-device.ts'
import type { DiskPlan } from './disk-plan.ts'
import { errorPolicy } from './error-policy.ts'
import { deviceId } from './ids.ts'
import type { PciBus } from './pci-bus.ts'
import { queuesOf } from './virtio-blk.ts'

/** The controller of a disk and the disk on it. */
export function virtioScsiDevices(
  device: DiskDevice,
  { input, bus }: { readonly input: DiskInput; readonly bus: PciBus },
): DiskPlan['devices'] {
  const { disk } = device
  const id = deviceId('disk', disk.name)
  const controller =
    disk.controller === undefined ? deviceId('scsi', disk.name) : deviceId('hba', disk.controller)
  return [
    {
      driver: 'virtio-scsi-pci',
      id: controller,
      ...bus.place(slotOf(disk) ?? id),
      'disable-legacy': 'on',
      iothread: device.ioThread,
      num_queues: queuesOf(disk, input),
    },
    {
      driver: isCdrom(disk) ? 'scsi-cd' : 'scsi-hd',
      id,
      bus: `${controller}.0`,
      channel: 0,
      'scsi-id': 0,
      lun: disk.controller === undefined ? 0 : (input.hardware.luns?.[disk.name] ?? 0),
      drive: device.node,
      serial: device.serial,
      device_id: device.serial,
      bootindex: device.bootIndex,
      'share-rw': disk.shareable === true ? true : undefined,
      'write-cache': isCdrom(disk) ? undefined : 'on',
      ...errorPolicy(disk),
    },
  ]
}
