/** Whether a running VM lives on under a new hard limit of its memory. */
import { formatBytes, type PlanChange, type VmSpec } from '@kvasir/contract'
import type { VmView } from '../../ports/drivers.ts'

/** The changes, with a hard limit refused that is below what the VM holds now: the kernel would kill its emulator to keep it. */
export async function judgeSurvival(
  { emulator }: Pick<VmView, 'emulator'>,
  { memory }: VmSpec,
  changes: readonly PlanChange[],
): Promise<readonly PlanChange[]> {
  const { hard } = memory
  const limit = changes.find(({ field, effect }) => field === 'memory.hard' && effect === 'live')
  if (hard === undefined || !emulator || !limit) return changes
  const { residentBytes, limits } = await emulator.memory.held()
  if (limits === undefined || residentBytes <= hard) return changes
  const reason = `it holds ${formatBytes(residentBytes)} now, so the kernel would kill it to keep it within ${formatBytes(hard)}; take memory from it first by its balloon or memory.high`
  return changes.map((change) => (change === limit ? { ...change, effect: 'refused', reason } : change))
}
