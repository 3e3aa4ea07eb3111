/**
 * Devices of the host, handed over by VFIO.
 *
 * QEMU asks /sys for two things of a device: that it is there, and the number of its group, whose node it opens as /dev/vfio/NUMBER
 * (hw/vfio/pci.c, hw/vfio/container.c). In the cage both are made for it, so it sees no /sys of the host: the name of the folder has to be
 * the address, by which the kernel is asked for the device.
 */
import { KvasirError } from '@kvasir/contract'
import type { OptionValue } from '../storage/volume-source.ts'
import type { BuildContext } from './build-context.ts'
import { type EmulatorPlan, hostDeviceDirectory } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { lockableBytes } from './locked-memory.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'
import { vfPlans } from './vf-nic.ts'

/** A device of the host that is handed to a guest that runs. */
export interface HostDevicePlan {
  /** The name of the VM. */
  readonly vm: string
  /** Its name in the spec. */
  readonly name: string
  /** Its place on the host. */
  readonly address: string
  /** Of `device_add`. */
  readonly device: { readonly [key: string]: OptionValue }
  /** What the emulator must be allowed to lock from then on: all memory of the guest. */
  readonly lockableBytes: number
}

/** What a host device is planned from. */
export type HostDeviceInput = Pick<HardwareInput, 'name' | 'spec' | 'hardware'>

/** A host device as it is plugged. */
export function planHostDevice(input: HostDeviceInput, name: string): HostDevicePlan {
  const device = devicesOf(input).find((one) => one.name === name)
  if (!device) throw new TypeError(`There is no host device ${name} in the spec.`)
  return {
    vm: input.name,
    name,
    address: device.address,
    device: deviceOf(device, pciBus(input)),
    lockableBytes: lockableBytes(input, { hasDevices: true }),
  }
}

/** The arguments for the devices of the host, in the order of their names. */
export function hostDeviceArgs({ input, bus }: BuildContext): readonly string[] {
  return devicesOf(input).flatMap((device) => jsonOption('-device', deviceOf(device, bus)))
}

function deviceOf({ name, rom, address }: ReturnType<typeof devicesOf>[number], bus: PciBus) {
  const id = deviceId('host', name)
  return {
    driver: 'vfio-pci',
    id,
    sysfsdev: `${hostDeviceDirectory}/${address}`,
    ...bus.place(id),
    ...(rom ? {} : { rombar: 0 }),
  }
}

/** The addresses of what is handed over. */
export function handedOver(input: HardwareInput): Pick<EmulatorPlan, 'hostDevices'> {
  const vfs = vfPlans(input).map(({ address }) => address)
  const addresses = [...devicesOf(input).map(({ address }) => address), ...vfs]
  return addresses.length === 0 ? {} : { hostDevices: addresses }
}

function devicesOf({ name, spec, hardware }: HostDeviceInput) {
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
