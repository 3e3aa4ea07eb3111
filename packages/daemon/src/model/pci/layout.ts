/**
 * Which device sits where on the PCI bus of a VM, by kind: the map that the allocator fills in.
 *
 * q35: what a VM has one of from its boot on sits on `pcie.0` itself, in a slot of its own each (1 to 7), and stays until the next one. What can be plugged while
 * the guest runs (disks, NICs, the seed) sits behind a root port of its own. Root ports fill slots 8 to 30 in order, eight
 * functions a slot. Slot 0 is the host bridge, slot 31 the ICH9. NICs of conventional PCI (e1000, rtl8139) want a window of I/O ports, which root ports
 * have not: they take a whole slot each, from 30 down, and are not plugged.
 *
 * Firmware numbers buses in the order of the ports, and Linux names NICs by bus (`enp3s0`). So port number n is always bus n + 1:
 * every port up to the highest in use exists, also when the device behind it is gone.
 *
 * microvm: everything sits on `pcie.0` itself; there is no plugging.
 */
import type { DiskSpec, VmSpec } from '@kvasir/contract'
import { deviceId, plugMemoryId } from '../qemu/ids.ts'
import { isConventional, nicSlot } from '../qemu/nic-models.ts'

/** A place on `pcie.0`. */
export interface PciAddress {
  readonly slot: number
  readonly function: number
}

/** The slots of the devices that a VM has at most one of. A slot never gets another meaning. */
export const fixedSlots = {
  display: 1,
  serialbus: 2,
  rng: 3,
  balloon: 4,
  vsock: 5,
  watchdog: 6,
  panic: 7,
} as const satisfies Record<string, number>

export type FixedDevice = keyof typeof fixedSlots

/** Those of them that come to a guest that runs, behind a root port, where they stay for as long as the VM has them. */
export const comingLate: readonly FixedDevice[] = ['rng', 'balloon', 'vsock', 'watchdog']

/** The first slot of root ports (q35) or of disks and NICs (microvm). */
export const firstPluggableSlot = 8
const functionsPerSlot = 8
/** The last slot that is not the chipset's. */
export const lastSlot = 30

/** How many pluggable devices a machine has room for. */
export const pluggableRoom = {
  q35: (lastSlot + 1 - firstPluggableSlot) * functionsPerSlot,
  microvm: 32 - firstPluggableSlot,
} as const satisfies Record<VmSpec['machine']['type'], number>

/** Empty root ports beyond the last in use, for plugging while the guest runs, where the spec does not say how many. */
const sparePorts = 2

/** The place of the pluggable device number `index`, counted from 0. */
export function pluggableAddress(type: VmSpec['machine']['type'], index: number): PciAddress {
  if (type === 'microvm') return { slot: firstPluggableSlot + index, function: 0 }
  return {
    slot: firstPluggableSlot + Math.floor(index / functionsPerSlot),
    function: index % functionsPerSlot,
  }
}

/** The number of the root port at a place: the inverse of `pluggableAddress` for q35. */
export function portNumber(address: PciAddress): number {
  return (address.slot - firstPluggableSlot) * functionsPerSlot + address.function
}

/** Addresses as hardware keeps them, and the number of root ports where that does not follow from them. */
interface KeptPorts {
  readonly pci: Readonly<Record<string, PciAddress>>
  readonly ports?: number | undefined
  readonly spareSlots?: number | undefined
}

/** How many root ports a q35 has: those up to the last in use and spare ones, or as many as it was booted with. */
export function portCount({ pci, ports, spareSlots = sparePorts }: KeptPorts): number {
  const used = pluggablePlaces(pci).map((address) => portNumber(address) + 1)
  return ports ?? Math.min(Math.max(0, ...used) + spareSlots, roomForPorts(pci))
}

/** The room for root ports below the slots that NICs of conventional PCI have. */
export function roomForPorts(pci: KeptPorts['pci']): number {
  const cards = Object.entries(pci).flatMap(([id, { slot }]) => (isCard(id) ? [slot] : []))
  return (Math.min(lastSlot + 1, ...cards) - firstPluggableSlot) * functionsPerSlot
}

/** Whether an id is that of a place on the root bus, of a NIC of conventional PCI. */
export function isCard(id: string): boolean {
  return id.startsWith('card-')
}

/** The ids of the places of NICs of conventional PCI, in an order that does not depend on the order of the list. */
export function cardsOf(spec: VmSpec): readonly string[] {
  return spec.nics.filter(isConventional).map(nicSlot).sort(byText)
}

/** How many root ports of a q35 have nothing behind them, and will not by what its next start brings. */
export function freePorts(booted: KeptPorts, next: KeptPorts): number {
  const taken = [...pluggablePlaces(booted.pci), ...pluggablePlaces(next.pci)].map(portNumber)
  const count = portCount(booted)
  return count - new Set(taken.filter((number) => number < count)).size
}

function pluggablePlaces(pci: KeptPorts['pci']): readonly PciAddress[] {
  return Object.entries(pci)
    .filter(([id, address]) => isBehindPort(id, address))
    .map(([, address]) => address)
}

/** Whether a device of a q35 sits behind the root port at a place, and not on the root bus itself. */
export function isBehindPort(id: string, { slot }: PciAddress): boolean {
  return slot >= firstPluggableSlot && !isCard(id)
}

/** The ids of the fixed PCI devices that a spec asks for. `vsock` counts whether or not this host can provide it. */
export function fixedDevices(spec: VmSpec): readonly FixedDevice[] {
  const { devices, machine } = spec
  const wanted: Readonly<Record<FixedDevice, boolean>> = {
    display: hasDisplay(spec),
    serialbus: hasSerialBus(spec),
    rng: devices.rng,
    balloon: devices.balloon,
    vsock: devices.vsock,
    watchdog: devices.watchdog && devices.watchdogModel !== 'itco',
    // q35 has it on the ISA bus, where older guests find it too.
    panic: devices.panic && machine.type === 'microvm',
  }
  const names = Object.keys(fixedSlots) as FixedDevice[] // The keys of a closed table.
  return names.filter((name) => wanted[name])
}

/** The ids of the pluggable devices of a spec, in an order that does not depend on the order of its lists. */
export function pluggableDevices(spec: VmSpec): readonly string[] {
  const disks = [...new Set(spec.disks.flatMap((disk) => slotOf(disk) ?? []))]
  const nics = spec.nics.filter((nic) => !isConventional(nic)).map(nicSlot)
  return [
    ...disks.sort(rootFirst),
    ...nics.sort(byText),
    ...spec.hostDevices
      .filter((device) => device.with === undefined)
      .map(({ name }) => deviceId('host', name))
      .sort(byText),
    ...spec.shares.map((share) => deviceId('fs', share.name)).sort(byText),
    ...(spec.cloudInit === undefined ? [] : ['seed']),
    ...(spec.memory.max === undefined ? [] : [plugMemoryId]),
    ...extraDevices(spec),
  ]
}

/** What came after the fixed slots were all given. */
function extraDevices({ devices }: VmSpec): readonly string[] {
  return [
    ...(hasUsb(devices) ? ['usb'] : []),
    ...(devices.pointer === 'virtio' ? ['pointer'] : []),
    ...(devices.sound ? ['sound'] : []),
    ...(devices.keyboard === 'virtio' ? ['keyboard'] : []),
  ]
}

/** Whether a VM has a USB controller: it was asked for, or something that sits on it. */
export function hasUsb(devices: Partial<VmSpec['devices']>): boolean {
  const { usb, pointer, keyboard } = devices
  return usb === true || pointer === 'usb' || keyboard === 'usb' || usbRedirects(devices) > 0
}

/** How many USB devices of who looks at it by SPICE a VM can have; as many as for virt-install where it is not said. */
export function usbRedirects({ spice, usbRedirects = 2 }: Partial<VmSpec['devices']>): number {
  return spice ? usbRedirects : 0
}

/** Whether a VM has a screen: somebody may look at it. */
export function hasDisplay({ devices, machine }: Pick<VmSpec, 'devices' | 'machine'>): boolean {
  return machine.type === 'q35' && (devices.vnc || devices.spice === true)
}

/** Whether a VM has a keyboard: that of a q35, or one that was asked for. */
export function hasKeyboard({ devices, machine }: Pick<VmSpec, 'devices' | 'machine'>): boolean {
  return machine.type === 'q35' || (devices.keyboard ?? 'ps2') !== 'ps2'
}

/** Whether a VM has a virtio-serial controller: something has a channel. */
export function hasSerialBus({ devices }: Pick<VmSpec, 'devices'>): boolean {
  return devices.agent || devices.spice === true || (devices.channels ?? []).length > 0
}

/** The id of what takes a slot for a disk: itself, or the controller that it shares. One on SATA takes none. */
export function slotOf(disk: Pick<DiskSpec, 'name' | 'bus' | 'controller'>): string | undefined {
  if (disk.bus === 'sata') return undefined
  return disk.controller === undefined ? deviceId('disk', disk.name) : deviceId('hba', disk.controller)
}

function rootFirst(a: string, b: string): number {
  const root = deviceId('disk', 'root')
  if (a === b) return 0
  if (a === root) return -1
  return b === root ? 1 : byText(a, b)
}

function byText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
