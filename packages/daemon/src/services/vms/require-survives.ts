/** Whether a running VM lives on under a new hard limit of its memory. */
import { formatBytes, KvasirError, type PlanChange, type VmSpec } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'

/** Refuses a hard limit below what the VM holds now: the kernel would kill its emulator to keep it. */
export async function requireSurvives(
  { record, emulator }: Seat,
  spec: VmSpec,
  changes: readonly PlanChange[],
): Promise<void> {
  const { hard } = spec.memory
  const isLive = changes.some(({ field, effect }) => field === 'memory.hard' && effect === 'live')
  if (hard === undefined || !emulator || !isLive) return
  const { residentBytes, limits } = await emulator.memory.held()
  if (limits === undefined || residentBytes <= hard) return
  throw new KvasirError(
    'plan-refused',
    `VM ${record.name} holds ${formatBytes(residentBytes)} now, so a hard limit of ${formatBytes(hard)} would have it killed; take memory from it first by its balloon or memory.high.`,
    { details: { field: 'memory.hard', residentBytes, hard } },
  )
}
