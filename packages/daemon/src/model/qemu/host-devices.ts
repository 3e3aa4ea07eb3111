/**
 * Devices of the host, handed over by VFIO.
 *
 * QEMU asks /sys for two things of a device: that it is there, and the number of its group, whose node it opens as /dev/vfio/NUMBER
 * (hw/vfio/pci.c, hw/vfio/container.c). In the cage both are made for it, so it sees no /sys of the host: the name of the folder has to be
 * the address, by which the kernel is asked for the device.
 */
import { type HostDeviceSpec, KvasirError, type VmSpec } from '@kvasir/contract'
import { slotOf } from '../devices/why-together.ts'
import type { OptionValue } from '../storage/volume-source.ts'
import type { BuildContext } from './build-context.ts'
import { type EmulatorPlan, hostDeviceDirectory, type VfPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { deviceId } from './ids.ts'
import { lockableBytes } from './locked-memory.ts'
import { jsonOption } from './options.ts'
import { type PciBus, pciBus } from './pci-bus.ts'
import { vfPlans } from './vf-nic.ts'

/** What the file of a ROM is called in the folder of its device. */
export const romName = 'rom'

/** A device of the host that is handed to a guest that runs. */
export interface HostDevicePlan {
  /** The name of the VM. */
  readonly vm: string
  /** Its name in the spec, or that of the NIC that it is. */
  readonly name: string
  /** Its place on the host. */
  readonly address: string
  /** Of `device_add`. */
  readonly device: { readonly [key: string]: OptionValue }
  /** A file of the host that the guest gets for its ROM. */
  readonly romFile?: string
  /** Where it is a NIC of a network of mode sriov: what it is set to while it is lent. */
  readonly vf?: VfPlan
  /** What the emulator must be allowed to lock from then on: all memory of the guest. */
  readonly lockableBytes: number
}

/** What a host device is planned from. */
export type HostDeviceInput = Pick<HardwareInput, 'name' | 'spec' | 'hardware'>

/** A host device as it is plugged. */
export function planHostDevice(input: HostDeviceInput, name: string): HostDevicePlan {
  const all = devicesOf(input)
  const device = all.find((one) => one.name === name)
  if (!device) throw new TypeError(`There is no host device ${name} in the spec.`)
  return {
    vm: input.name,
    name,
    address: device.address,
    device: deviceOf(device, all, pciBus(input)),
    ...(device.romFile === undefined ? {} : { romFile: device.romFile }),
    lockableBytes: lockableBytes(input, { hasDevices: true }),
  }
}

/** The arguments for the devices of the host, in the order of their names. */
export function hostDeviceArgs({ input, bus }: BuildContext): readonly string[] {
  return devicesOf(input).flatMap((device, _index, all) => jsonOption('-device', deviceOf(device, all, bus)))
}

function deviceOf(device: Handed, all: readonly Handed[], bus: PciBus) {
  const { name, rom, romFile, address } = device
  const leader = device.with === undefined ? device : leaderOf(device, all)
  const { bus: port, addr } = bus.place(deviceId('host', leader.name))
  return {
    driver: 'vfio-pci',
    id: deviceId('host', name),
    sysfsdev: `${hostDeviceDirectory}/${address}`,
    bus: port,
    addr: leader === device ? addr : `${addr}.0x${functionOf(device)}`,
    ...(all.some((other) => other.with === name) ? { multifunction: true } : {}),
    ...(rom ? {} : { rombar: 0 }),
    ...(romFile === undefined ? {} : { romfile: `${hostDeviceDirectory}/${address}/${romName}` }),
  }
}

/** The function 0 with which a device shares a slot: a guest looks for others only where there is that (PCI 3.0, section 3.2.2.3.4). */
function leaderOf(device: Handed, all: readonly Handed[]): Handed {
  const leader = all.find(({ name }) => name === device.with)
  const no = (why: string) =>
    new KvasirError(
      'bad-request',
      `Host device ${device.name} of VM ${device.vm} cannot sit with ${device.with}: ${why}.`,
    )
  if (leader === undefined) throw no(`the VM has no host device ${device.with}`)
  if (leader.namedBy === undefined) throw no('that is not named by its address')
  if (leader.with !== undefined) throw no(`that sits with ${leader.with} itself`)
  if (slotOf(leader) !== slotOf(device))
    throw no(`${device.address} and ${leader.address} are not functions of one device`)
  if (functionOf(leader) !== '0') throw no(`${leader.address} is not function 0 of its device`)
  return leader
}

function functionOf({ address }: Pick<Handed, 'address'>): string {
  return address.slice(-1)
}

/** The addresses of what is handed over, and the files of ROMs by them. */
export function handedOver(input: HardwareInput): Pick<EmulatorPlan, 'hostDevices' | 'roms'> {
  const devices = devicesOf(input)
  const vfs = vfPlans(input).map(({ address }) => address)
  const addresses = [...devices.map(({ address }) => address), ...vfs]
  const roms = devices.flatMap(({ address, romFile }) => (romFile === undefined ? [] : [[address, romFile]]))
  return {
    ...(addresses.length === 0 ? {} : { hostDevices: addresses }),
    ...(roms.length === 0 ? {} : { roms: Object.fromEntries(roms) }),
  }
}

/** Addresses as devices of a spec could have them, for a plan that is only judged. */
export function likelyAddresses({
  hostDevices,
}: Pick<VmSpec, 'hostDevices'>): Readonly<Record<string, string>> {
  return Object.fromEntries(hostDevices.map(({ name, address }) => [name, address ?? '0000:00:00.0']))
}

interface Handed extends HostDeviceSpec {
  readonly vm: string
  /** The address by which its spec names it. */
  readonly namedBy: string | undefined
  readonly address: string
}

function devicesOf({ name: vm, spec, hardware }: HostDeviceInput): readonly Handed[] {
  const devices = [...spec.hostDevices].sort((a, b) => (a.name < b.name ? -1 : 1))
  return devices.map((device) => {
    const address = hardware.hostDevices?.[device.name]
    if (address === undefined)
      throw new KvasirError(
        'internal',
        `No device was chosen for the host device ${device.name} of VM ${vm}, so it cannot start.`,
      )
    return { ...device, vm, namedBy: device.address, address }
  })
}
