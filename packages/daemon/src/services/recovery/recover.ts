/**
 * Recovery: what the daemon does before it serves, so that whatever ended the last one, in the middle of whatever it did, leaves no trace.
 *
 * The phases and intents of the rows are the journal, the names on the host are derived from ids, and QEMU is asked what is true:
 * rows that say `creating` are undone, `deleting` finished; every other VM is looked for on the host and adopted, finished or ended
 * (recover-vm.ts); what is on the host and belongs to no row is removed. Every step can be repeated.
 */
import { KvasirError } from '@kvasir/contract'
import type { VmRecord, VmRow } from '../../ports/store.ts'
import { decodeMemo } from '../../ports/vm-memo.ts'
import type { Context } from '../context.ts'
import { finishDeletion, removeVolume } from '../vms/delete-vm.ts'
import { undoCreation } from '../vms/undo-creation.ts'
import { placeholderFor } from './placeholder.ts'
import { recoverVm } from './recover-vm.ts'

/** VMs that are looked for at one time. */
const atOnce = 16

export interface Recovered {
  readonly adopted: number
  readonly undone: number
  readonly finished: number
  readonly removed: number
}

/** Brings store and host together. Never gives up on one VM because of another. */
export async function recover(context: Context): Promise<Recovered> {
  const { ports } = context
  const count = { adopted: 0, undone: 0, finished: 0, removed: 0 }
  const keep = new Set<string>()

  await eachAtOnce(ports.store.vms.list(), async (row) => {
    try {
      const record = row.kind === 'vm' ? row.record : await mend(row, context)
      if (record.phase === 'creating') {
        await undoCreation(record.id, ports)
        count.undone++
        return
      }
      if (record.phase === 'deleting') {
        await finishDeletion(record, context)
        count.finished++
        return
      }
      keep.add(record.id)
      const driver = context.drivers.add(record)
      await driver.recover((seat) => recoverVm(seat, ports))
      if (!driver.view().emulator) return
      count.adopted++
      await driver.reconcile()
    } catch (error) {
      keep.add(row.kind === 'vm' ? row.record.id : row.id)
      ports.log.error(
        { vm: row.kind === 'vm' ? row.record.name : row.id, err: error },
        'a VM could not be recovered',
      )
    }
  })

  await finishVolumes(context)
  count.removed = await removeStrays(keep, context)
  endJobs(context)
  return count
}

/** A row that cannot be read: from the memo beside its emulator, else from its last good copy, else a place that holds its name. */
async function mend(row: Extract<VmRow, { kind: 'damaged' }>, context: Context): Promise<VmRecord> {
  const { ports } = context
  const memo = decodeMemo((await ports.emulators.memo(row.id)) ?? '')
  const source = memo?.record ?? ports.store.vms.lastGood(row.id)
  const since = ports.clock.now()
  const life = { state: 'unknown' as const, reason: 'its record was damaged and is being mended', since }
  const base = source ?? (await placeholderFor(row, context))
  const record: VmRecord = { ...base, id: row.id, phase: 'ready', intent: 'none', run: undefined, life }
  ports.log.warn(
    { vm: record.name, reason: row.reason, from: memo ? 'memo' : source ? 'history' : 'nothing' },
    'a damaged record was mended',
  )
  ports.store.vms.update(record)
  return record
}

/** Volumes that were being made are removed, those being removed are removed. */
async function finishVolumes(context: Context): Promise<void> {
  const { store, log } = context.ports
  for (const volume of store.volumes.list()) {
    if (volume.phase === 'ready') continue
    try {
      await removeVolume(volume, context)
    } catch (error) {
      log.error({ volume: volume.name, err: error }, 'a volume could not be removed')
    }
  }
}

/** What bears our names on the host and belongs to no VM. */
async function removeStrays(keep: ReadonlySet<string>, context: Context): Promise<number> {
  const { emulators, files, store, images } = context.ports
  let removed = 0
  for (const id of await emulators.present()) {
    if (keep.has(id)) continue
    await emulators.clean(id)
    removed++
  }
  const volumes = new Set(store.volumes.list().map((volume) => volume.id))
  for (const id of await files.listVolumes()) {
    if (volumes.has(id)) continue
    await files.removeVolume(id)
    removed++
  }
  for (const save of await files.listSaves()) {
    const row = store.vms.get(save.vmId)
    const isWanted =
      row?.kind === 'vm' && (row.record.saved !== undefined || row.record.intent.startsWith('save'))
    if (isWanted) continue
    await files.removeSave(save.vmId)
    removed++
  }
  for (const vmId of await files.listSeeds()) if (!keep.has(vmId)) await files.removeSeed(vmId)
  await images.sweep()
  return removed
}

function endJobs(context: Context): void {
  const { store, clock } = context.ports
  const error = new KvasirError(
    'host-failed',
    'The daemon ended while the job was running, so the job ended too.',
  )
  store.transaction(() => {
    for (const job of store.jobs.endAbandoned(clock.now(), error.toProblem()))
      context.emit('job.ended', job.id, { state: job.state, code: error.code, detail: error.message })
  })
}

async function eachAtOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items]
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}
