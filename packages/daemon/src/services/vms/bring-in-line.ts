/**
 * Brings a running emulator in line with its VM's spec, in what can change while the guest runs: after an edit, after saved memory was
 * loaded, and when a daemon takes over an emulator whose former daemon may have died between writing a spec and telling the emulator.
 *
 * Invariant: orders are absolute (this size, this limit), so giving them twice is giving them once. The guest follows in its own time.
 */
import type { VmSpec } from '@kvasir/contract'
import { type MemoryOrders, memoryOrders } from '../../model/memory/plug-memory.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { VmRecord } from '../../ports/store.ts'

/** Gives an emulator all that its spec says of memory. */
export async function bringMemoryInLine(record: VmRecord, emulator: Emulator): Promise<void> {
  const { memory } = emulator
  const orders = memoryOrders(bootableNow(record), record.hardware.plugMemory)
  await memory.limit(limitsOf(record))
  await plugMemory(emulator, orders)
  if (emulator.record.plan.ids.balloon !== undefined) await memory.setBalloon(orders.balloon)
}

/** The spec with the size that was booted where another one waits for the next boot. */
function bootableNow({ spec, run, hardware }: VmRecord): VmSpec {
  if (!run || hardware.plugMemory) return spec
  return { ...spec, memory: { ...spec.memory, size: run.bootedSpec.memory.size } }
}

/** Gives a new emulator, whose guest has not begun, what its argv could not say. Costs nothing where that is nothing. */
export async function bringNewInLine(record: VmRecord, emulator: Emulator): Promise<void> {
  if (record.spec.memory.target === undefined) return
  await emulator.memory.setBalloon(memoryOrders(record.spec, record.hardware.plugMemory).balloon)
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
