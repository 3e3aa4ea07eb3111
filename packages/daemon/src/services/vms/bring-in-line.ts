/**
 * Brings a running emulator in line with its VM's spec, in what can change while the guest runs: after an edit, after saved memory was
 * loaded, and when a daemon takes over an emulator whose former daemon may have died between writing a spec and telling the emulator.
 *
 * Invariant: orders are absolute (this size, this limit), so giving them twice is giving them once. The guest follows in its own time.
 */
import { canMerge } from '../../model/memory/backing.ts'
import type { MemoryOrders } from '../../model/memory/plug-memory.ts'
import { actionsOf } from '../../model/qemu/lifecycle.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { VmRecord } from '../../ports/store.ts'
import { isCutOff } from './lost-devices.ts'
import { filesLeftAlone } from './outside-limits.ts'
import { ordersOf } from './situation.ts'

/** Gives an emulator all that its spec says of memory, but for limits that somebody else has set; `leave` are their files where known. */
export async function bringMemoryInLine(
  record: VmRecord,
  emulator: Emulator,
  leave?: readonly string[],
): Promise<void> {
  const { memory } = emulator
  const orders = ordersOf(record)
  await memory.limit(limitsOf(record), { leave: leave ?? (await filesLeftAlone(record, emulator)) })
  await plugMemory(emulator, orders)
  if ((await memory.balloonBytes()) !== undefined) await memory.setBalloon(orders.balloon)
  const made = (record.run?.bootedSpec ?? record.spec).memory
  if (canMerge(made)) await memory.setMerging(record.spec.memory.ksm)
}

/**
 * Asks a guest once more for what it was asked for and did not do. Its driver tries again by itself, but after a minute or later; a
 * request that does not change is no news to it, so it is first told to stay as it is.
 */
export async function askAgain(record: VmRecord, { memory }: Emulator): Promise<void> {
  const { plugged } = ordersOf(record)
  const device = await memory.plugged()
  if (plugged === undefined || device === undefined || device.pluggedBytes === plugged) return
  await memory.request(device.pluggedBytes)
  await memory.request(plugged)
}

/** Gives the disks of an emulator the limits that its spec says, and takes away those that it does not say. */
export async function throttleInLine({ spec }: Pick<VmRecord, 'spec'>, emulator: Emulator): Promise<void> {
  await emulator.disks.throttle(new Map(spec.disks.map(({ name, throttle }) => [name, throttle])))
}

/** Puts the cables of an emulator's NICs in, or takes them out, as its spec says. */
export async function linksInLine(
  { spec, run, hardware }: Pick<VmRecord, 'spec' | 'run' | 'hardware'>,
  emulator: Emulator,
): Promise<void> {
  // The cable of a virtual function is its network's to set, and there is none where the tap is lost.
  const vfs = (run?.bootedHardware ?? hardware).vfs ?? {}
  const taps = spec.nics.filter(({ name }) => vfs[name] === undefined && !isCutOff({ run }, name))
  await emulator.nics.setLinks(new Map(taps.map(({ name, link }) => [name, link])))
}

/** Says what an emulator does by itself when its guest reboots, and when its watchdog fires. */
export async function actionsInLine(record: Pick<VmRecord, 'spec'>, emulator: Emulator): Promise<void> {
  await emulator.act(actionsOf(record.spec))
}

/** Gives a new emulator, whose guest goes on from saved memory, what its argv could not say. */
export async function bringRestoredInLine(record: VmRecord, emulator: Emulator): Promise<void> {
  await bringMemoryInLine(record, emulator)
  await actionsInLine(record, emulator) // Its arguments are of the spec that the memory was saved with.
  if (record.spec.disks.some(({ throttle }) => throttle)) await throttleInLine(record, emulator)
  if (record.spec.nics.length > 0) await linksInLine(record, emulator) // Saved memory may say otherwise.
}

/** Gives a new emulator, whose guest has not begun, what its argv could not say. Costs nothing where that is nothing. */
export async function bringNewInLine(record: VmRecord, emulator: Emulator): Promise<void> {
  if (record.spec.disks.some(({ throttle }) => throttle)) await throttleInLine(record, emulator)
  if (record.spec.nics.some(({ link }) => link === 'down')) await linksInLine(record, emulator)
  if (record.spec.memory.target === undefined) return
  await emulator.memory.setBalloon(ordersOf(record).balloon)
}

/** The limits of a VM's cgroup. */
export function limitsOf({ spec }: VmRecord) {
  const { high, hard, swap } = spec.memory
  return { high, hard, swap }
}

async function plugMemory({ memory }: Emulator, { plugged }: MemoryOrders): Promise<void> {
  if (plugged === undefined) return
  const device = await memory.plugged()
  if (device !== undefined && device.requestedBytes !== plugged) await memory.request(plugged)
}
