/**
 * Devices of the host, handed over by VFIO.
 *
 * QEMU asks /sys for two things of a device: that it is there, and the number of its group, whose node it opens as /dev/vfio/NUMBER
 * (hw/vfio/pci.c, hw/vfio/container.c). In the cage both are made for it, so it sees no /sys of the host: the name of the folder has to be
 * the address, by which the kernel is asked for the device.
 */
import { KvasirError } from '@kvasir/contract'
import type { BuildContext } from './build-context.ts'
import { type EmulatorPlan, hostDeviceDirectory } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'
import { vfPlans } from './vf-nic.ts'

/** The arguments for the devices of the host, in the order of their names. */
export function hostDeviceArgs({ input, bus }: BuildContext): readonly string[] {
  return devicesOf(input).flatMap(({ name, rom, address }) => {
    const id = deviceId('host', name)
    return jsonOption('-device', {
      driver: 'vfio-pci',
      id,
      sysfsdev: `${hostDeviceDirectory}/${address}`,
      ...bus.place(id),
      ...(rom ? {} : { rombar: 0 }),
    })
  })
}

/** The addresses of what is handed over. */
export function handedOver(input: HardwareInput): Pick<EmulatorPlan, 'hostDevices'> {
  const vfs = vfPlans(input).map(({ address }) => address)
  const addresses = [...devicesOf(input).map(({ address }) => address), ...vfs]
  return addresses.length === 0 ? {} : { hostDevices: addresses }
}

function devicesOf({ name, spec, hardware }: HardwareInput) {
  const devices = [...spec.hostDevices].sort((a, b) => (a.name < b.name ? -1 : 1))
  return devices.map((device) => {
    const address = hardware.hostDevices?.[device.name]
    if (address === undefined)
      throw new KvasirError(
        'internal',
        `No device was chosen for the host device ${device.name} of VM ${name}, so it cannot start.`,
      )
    return { ...device, address }
  })
}
