/** A record in place of one that is lost altogether, so that its VM can be seen, powered off and deleted. */
import { vmSpec } from '@kvasir/contract'
import type { DamagedVm, VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** The record of a VM of which only the id, and perhaps the name, is known. */
export async function placeholderFor(row: DamagedVm, context: Context): Promise<VmRecord> {
  const { store, clock, bootId } = context.ports
  const now = clock.now()
  const known = store.uids.list().find((entry) => entry.vmId === row.id)
  return {
    id: row.id,
    name: row.name ?? `damaged-${row.id.slice(0, 8)}`,
    revision: 1,
    createdAt: now,
    phase: 'ready',
    intent: 'none',
    uid: known?.uid ?? store.uids.allocate(row.id, bootId),
    spec: vmSpec.parse({
      description: 'The record of this VM was damaged and nothing to mend it from was found.',
    }),
    hardware: { machine: 'unknown', pci: {}, vsockCid: undefined },
    life: { state: 'unknown', reason: row.reason, since: now },
    run: undefined,
    saved: undefined,
  }
}
