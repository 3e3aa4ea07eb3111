/** Finding snapshots, and refusing what their present phase does not allow. */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { SnapshotRecord } from '../../ports/snapshot-record.ts'
import type { VmRecord } from '../../ports/store.ts'
import { requireNoWork } from '../volumes/hold-volume.ts'

type Named = Pick<VmRecord, 'id' | 'name'>
type WithDisks = Pick<VmRecord, 'id' | 'name' | 'spec'>

/** A snapshot of a VM by name; `snapshot-not-found`. One that is being made is there already. */
export function requireSnapshot(vm: Named, name: string, { store }: Ports): SnapshotRecord {
  const found = store.snapshots.ofVm(vm.id).find((snapshot) => snapshot.name === name)
  if (found) return found
  throw new KvasirError('snapshot-not-found', `VM ${vm.name} has no snapshot ${name}.`)
}

/** Refuses with `busy` while a snapshot of the VM other than `except` is being made or deleted, or one of its volumes is worked on. */
export function requireSettled(vm: WithDisks, { store }: Ports, except?: string): void {
  for (const { pool, volume } of vm.spec.disks) {
    const found = volume === undefined ? undefined : store.volumes.find(pool, volume)
    if (found) requireNoWork(found)
  }
  const pending = store.snapshots.ofVm(vm.id).find(({ phase, id }) => phase !== 'ready' && id !== except)
  if (!pending) return
  const what = pending.phase === 'deleting' ? 'deleted' : 'made'
  throw new KvasirError(
    'busy',
    `Snapshot ${pending.name} of VM ${vm.name} is being ${what}, so its disks are left alone until that is over.`,
    { details: { snapshot: pending.name } },
  )
}
