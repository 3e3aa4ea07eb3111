/**
 * A disk on SATA: a port of an ICH9 AHCI controller, where q35 has it (slot 31, function 2). It comes with the first disk that wants it.
 *
 * Nothing here can be plugged while the guest runs.
 */
import { isCdrom, KvasirError } from '@kvasir/contract'
import type { DiskDevice, DiskInput } from './disk-device.ts'
import type { DiskPlan } from './disk-plan.ts'
import { errorPolicy } from './error-policy.ts'
import { deviceId } from './ids.ts'

/** The controller's id. It has no dash, so no disk's name meets it. */
const controller = 'sata'

/** The controller, and the disk or drive on its port. */
export function sataDevices(
  device: DiskDevice,
  { input }: { readonly input: DiskInput },
): DiskPlan['devices'] {
  const { disk } = device
  const port = input.hardware.sata?.[disk.name]
  if (port === undefined)
    throw new KvasirError(
      'internal',
      `Disk ${disk.name} of VM ${input.name} has no SATA port, so it cannot be attached.`,
    )
  return [
    { driver: 'ich9-ahci', id: controller, bus: 'pcie.0', addr: '0x1f.0x2' },
    {
      driver: isCdrom(disk) ? 'ide-cd' : 'ide-hd',
      id: deviceId('disk', disk.name),
      bus: `${controller}.${port}`,
      drive: device.node,
      serial: device.serial,
      bootindex: device.bootIndex,
      'share-rw': disk.shareable === true ? true : undefined,
      'write-cache': isCdrom(disk) ? undefined : 'on',
      ...errorPolicy(disk),
    },
  ]
}
