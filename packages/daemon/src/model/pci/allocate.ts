/**
 * The allocator of guest-visible addresses: decided at creation, kept from then on.
 *
 * Invariants: no two devices share an address; a device that still exists keeps its address whatever else is added, removed or
 * reordered; an address is given again only after its device is gone.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { planPlugMemory } from '../memory/plug-memory.ts'
import type { Hardware } from '../qemu/hardware.ts'
import { requireMachine } from '../qemu/machine.ts'
import { requireNicModels } from '../qemu/nic-models.ts'
import type { QemuCapabilities } from '../qemu/qemu-capabilities.ts'
import { allocateChannels, allocateLuns, allocateSata } from './allocate-numbers.ts'
import {
  cardsOf,
  comingLate,
  type FixedDevice,
  fixedDevices,
  fixedSlots,
  isBehindPort,
  isCard,
  lastSlot,
  type PciAddress,
  pluggableAddress,
  pluggableDevices,
  pluggableRoom,
  portCount,
  roomForPorts,
} from './layout.ts'

/** What the host contributes to a VM's hardware. */
export interface HardwareHost {
  readonly qemu: QemuCapabilities
  /** A CID that no other VM of the host has (3 or more); undefined where the host has no vsock. */
  readonly vsockCid: number | undefined
  /** What its emulator has while it runs, which may be more than its spec says for the next boot. */
  readonly booted?: Hardware | undefined
}

/**
 * The hardware of a VM: for a new one without `previous`, else with all that `previous` gave and the spec still has. What memory its
 * emulator was started with stays until the next cold start (`coldHardware`).
 * Refuses with `unsupported` when the machine does not exist in this QEMU or has no room for the devices.
 */
export function planHardware(spec: VmSpec, previous: Hardware | undefined, host: HardwareHost): Hardware {
  const machine = previous?.machine ?? requireMachine(spec, host.qemu)
  requireNicModels(spec, host.qemu)
  const pci: Record<string, PciAddress> = {}
  const before = { kept: previous?.pci, booted: host.booted?.pci }
  for (const id of fixedDevices(spec)) {
    const address = before.booted?.[id] ?? before.kept?.[id]
    if (address && !mayComeNow(id, address, host.booted)) pci[id] = address
  }
  const cards = allocateCards(spec, before)
  Object.assign(pci, cards, allocatePluggable(spec, { ...before, others: { ...cards, ...pci } }))
  for (const id of fixedDevices(spec))
    pci[id] ??= emptyPort(spec, { id, pci, booted: host.booted }) ?? { slot: fixedSlots[id], function: 0 }
  const vsockCid = spec.devices.vsock
    ? (previous?.vsockCid ?? host.booted?.vsockCid ?? host.vsockCid)
    : undefined
  const plugMemory = previous ? previous.plugMemory : planPlugMemory(spec)
  const spareSlots = previous ? previous.spareSlots : spec.machine.spareSlots
  return {
    machine,
    pci,
    vsockCid,
    ...(spareSlots === undefined ? {} : { spareSlots }),
    ...allocateSata(spec, previous),
    ...allocateLuns(spec, previous, host.booted),
    ...allocateChannels(spec, previous, host.booted),
    ...(plugMemory === undefined ? {} : { plugMemory }),
    ...(previous?.ports === undefined ? {} : { ports: previous.ports }),
  }
}

/** Whether one was given its place on the root bus for the next boot, so that it can have a port before that. */
function mayComeNow(id: FixedDevice, address: PciAddress, booted: Hardware | undefined): boolean {
  return booted !== undefined && booted.pci[id] === undefined && !isBehindPort(id, address)
}

/** Where a device goes that comes to a guest that runs: behind the first port that is empty and stays so. */
function emptyPort(
  spec: VmSpec,
  {
    id,
    pci,
    booted,
  }: { readonly id: FixedDevice; readonly pci: Hardware['pci']; readonly booted: Hardware | undefined },
): PciAddress | undefined {
  if (!booted || spec.machine.type !== 'q35' || !comingLate.includes(id)) return undefined
  const taken = new Set([...Object.values(pci), ...Object.values(booted.pci)].map(key))
  const ports = Array.from({ length: portCount(booted) }, (_, number) => pluggableAddress('q35', number))
  return ports.find((address) => !taken.has(key(address)))
}

/** The hardware of a start without saved memory: its memory is planned anew. */
export function coldHardware(spec: VmSpec, hardware: Hardware): Hardware {
  const { ports: _ports, plugMemory: _memory, spareSlots: _spare, ...kept } = hardware
  const plugMemory = planPlugMemory(spec)
  const { spareSlots } = spec.machine
  return {
    ...kept,
    ...(plugMemory === undefined ? {} : { plugMemory }),
    ...(spareSlots === undefined ? {} : { spareSlots }),
  }
}

interface Before {
  readonly kept?: Hardware['pci'] | undefined
  readonly booted?: Hardware['pci'] | undefined
}

/** Slots for NICs of conventional PCI, the last one first. There is room for as many as a spec can have. */
function allocateCards(spec: VmSpec, { kept = {}, booted = {} }: Before): Hardware['pci'] {
  const taken = new Set([...Object.values(kept), ...Object.values(booted)].map(({ slot }) => slot))
  const given: Record<string, PciAddress> = {}
  for (const id of cardsOf(spec)) {
    const address = kept[id] ?? booted[id]
    if (address === undefined) continue
    given[id] = address
    taken.add(address.slot)
  }
  let slot = lastSlot
  for (const id of cardsOf(spec)) {
    if (given[id] !== undefined) continue
    while (taken.has(slot)) slot -= 1
    given[id] = { slot, function: 0 }
    taken.add(slot)
  }
  return given
}

/** Free is what neither a device has that stays nor one that is still there until the guest lets go of it. */
function allocatePluggable(
  spec: VmSpec,
  { kept = {}, booted = {}, others }: Before & { readonly others: Hardware['pci'] },
): Record<string, PciAddress> {
  const wanted = pluggableDevices(spec)
  const ports = Math.min(pluggableRoom[spec.machine.type], roomForPorts({ ...others, ...cardsIn(booted) }))
  const room = ports - Object.entries(others).filter(([id, address]) => isBehindPort(id, address)).length
  if (wanted.length > room) {
    throw new KvasirError(
      'unsupported',
      `A ${spec.machine.type} VM has room for ${room} disks and NICs, so ${wanted.length} do not fit.`,
      { details: { room, wanted: wanted.length } },
    )
  }
  const given: Record<string, PciAddress> = {}
  const taken = new Set<string>([...Object.values(booted), ...Object.values(others)].map(key))
  for (const id of wanted) {
    const address = kept[id] ?? booted[id]
    if (address === undefined) continue
    given[id] = address
    taken.add(key(address))
  }
  let next = 0
  for (const id of wanted) {
    if (given[id] !== undefined) continue
    while (taken.has(key(pluggableAddress(spec.machine.type, next)))) next += 1
    given[id] = pluggableAddress(spec.machine.type, next)
    next += 1
  }
  return given
}

function key(address: PciAddress): string {
  return `${address.slot}.${address.function}`
}

function cardsIn(pci: Hardware['pci']): Hardware['pci'] {
  return Object.fromEntries(Object.entries(pci).filter(([id]) => isCard(id)))
}
