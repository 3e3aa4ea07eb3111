/**
 * Recovery: what the daemon does before it serves, so that whatever ended the last one, in the middle of whatever it did, leaves no trace.
 *
 * The phases and intents of the rows are the journal, the names on the host are derived from ids, and QEMU is asked what is true:
 * rows that say `creating` are undone, `deleting` finished; every other VM is looked for on the host and adopted, finished or ended
 * (recover-vm.ts); what is on the host and belongs to no row is removed. Every step can be repeated, and none that fails holds up
 * the others.
 *
 * A row always comes before its volume's file and goes after it, so a file without a row is nobody's half-made work: it may be the
 * disk of a VM whose row a restored backup of the store does not know. It stays, and the audit tells of it.
 */
import { KvasirError } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VmRow } from '../../ports/store.ts'
import { decodeMemo } from '../../ports/vm-memo.ts'
import type { Context } from '../context.ts'
import { settleImageNames } from '../images/image-names.ts'
import { defaultPool } from '../pools/create-pool.ts'
import { placeName } from '../pools/usable-pool.ts'
import { finishDeletion, removeVolume } from '../vms/delete-vm.ts'
import { knownNvrams } from '../vms/nvram.ts'
import { poolTrouble } from '../vms/pool-trouble.ts'
import { undoCreation } from '../vms/undo-creation.ts'
import { isUnfinished } from '../volumes/expired-upload.ts'
import { settleWork, unsettledWork } from '../volumes/settle-work.ts'
import { holderOf } from '../volumes/volume-use.ts'
import { placeholderFor } from './placeholder.ts'
import { recoverVm } from './recover-vm.ts'

/** VMs that are looked for at one time. */
const atOnce = 64
/**
 * How long an emulator may take to answer before its VM is `unknown`, to be asked again soon. The API waits for this; one that runs
 * answers within a few milliseconds, on a busy host within some hundred.
 */
const adoptTimeoutMs = 700

export interface Recovered {
  readonly adopted: number
  readonly undone: number
  readonly finished: number
  readonly removed: number
  /** The ids of VMs that were being started again when the last daemon ended. */
  readonly restarts: readonly string[]
}

/** Brings store and host together. Never gives up on one VM because of another. */
export async function recover(context: Context): Promise<Recovered> {
  const { ports } = context
  const count = { adopted: 0, undone: 0, finished: 0, removed: 0 }
  const keep = new Set<string>()

  await ports.failpoint('recover.before-vms')
  await eachAtOnce(ports.store.vms.list(), async (row) => {
    const id = row.kind === 'vm' ? row.record.id : row.id
    try {
      const did = await recoverRow(row, context)
      if (did === 'kept' || did === 'adopted') keep.add(id)
      if (did !== 'kept') count[did]++
    } catch (error) {
      keep.add(id)
      ports.log.error({ vm: id, err: error }, 'a VM could not be recovered')
    }
  })
  await ports.failpoint('recover.after-vms')
  const home = ports.store.pools.findByName(defaultPool)
  if (home) await settleWork(home, unsettledWork(context), context)
  await finishVolumes(context)
  count.removed = await removeStrays(keep, context)
  await ports.failpoint('recover.after-strays')
  endJobs(context)
  await ports.failpoint('recover.after-jobs')
  const restarts = context.drivers.list().filter((driver) => driver.view().record.intent === 'restart')
  return { ...count, restarts: restarts.map((driver) => driver.id) }
}

async function recoverRow(row: VmRow, context: Context): Promise<'undone' | 'finished' | 'kept' | 'adopted'> {
  const { ports } = context
  const record = row.kind === 'vm' ? row.record : await mend(row, context)
  if (record.phase === 'creating') {
    await undoCreation(record.id, ports)
    return 'undone'
  }
  if (record.phase === 'deleting') {
    context.drivers.add(record) // Whoever deletes it again goes on where this fails.
    await finishDeletion(record, context)
    return 'finished'
  }
  const driver = context.drivers.add(record)
  await driver.recover((seat) => recoverOrDoubt(seat, context))
  if (!driver.view().emulator) return 'kept'
  await driver.reconcile()
  return 'adopted'
}

/** A VM that cannot be looked at may be running: it is `unknown`, to be looked at again. */
async function recoverOrDoubt(seat: Seat, context: Context): Promise<void> {
  const { ports, emit } = context
  try {
    const trouble = (record: VmRecord) => poolTrouble(record, context)
    await recoverVm(seat, { ports, emit, poolTrouble: trouble }, { timeoutMs: adoptTimeoutMs })
  } catch (error) {
    ports.log.error({ vm: seat.record.name, err: error }, 'a VM could not be recovered')
    const { emulator } = seat
    seat.detach()
    await emulator?.release()
    const reason = 'looking at it after a restart met an error; it is looked at again'
    seat.update({ life: seat.life('unknown', reason) })
  }
}

/** A row that cannot be read: from its last good copy, else from the memo beside its emulator, else a place that holds its name. */
async function mend(row: Extract<VmRow, { kind: 'damaged' }>, context: Context): Promise<VmRecord> {
  const { ports } = context
  const copy = ports.store.vms.lastGood(row.id)
  const source = copy ?? (await recordFromMemo(row.id, ports))
  const since = ports.clock.now()
  const life = { state: 'unknown' as const, reason: 'its record was damaged and is being mended', since }
  const base = source ?? (await placeholderFor(row, context))
  const record: VmRecord = { ...base, id: row.id, run: undefined, life }
  ports.log.warn(
    { vm: record.name, reason: row.reason, from: copy ? 'history' : source ? 'memo' : 'nothing' },
    'a damaged record was mended',
  )
  ports.store.vms.update(record)
  return record
}

/** A memo is as old as the launch: of what was under way then nothing is acted upon, and its saved memory was loaded. */
async function recordFromMemo(id: string, ports: Ports): Promise<VmRecord | undefined> {
  const memo = decodeMemo((await ports.emulators.memo(id)) ?? '')
  return memo && { ...memo.record, phase: 'ready', intent: 'none', saved: undefined }
}

/** Volumes that were being made or removed are removed, and so are bases that nobody needs any more. */
async function finishVolumes(context: Context): Promise<void> {
  const { store } = context.ports
  const pending = new Set(
    store.snapshots.list().flatMap(({ layers }) => layers.map((layer) => layer.successorId ?? layer.copyId)),
  )
  for (const volume of store.volumes.list()) {
    if (volume.move) continue // Settled with its VM.
    if (pending.has(volume.id)) continue // Its emulator did not answer; it knows whether it writes to it.
    if (placeName(volume) !== defaultPool) {
      // Its pool may hang, so that waits until it answers.
      if (volume.phase === 'creating') store.volumes.update({ ...volume, phase: 'deleting' })
      continue
    }
    const isOver = isUnfinished(volume, context) || (volume.frozen && !holderOf(volume, store))
    if (isOver && store.volumes.get(volume.id)) await tolerate(context, () => removeVolume(volume, context))
  }
}

/** What bears our names on the host and belongs to no VM. */
async function removeStrays(keep: ReadonlySet<string>, context: Context): Promise<number> {
  const { emulators, files, store, images } = context.ports
  let removed = 0
  const remove = async (work: () => Promise<void>) => {
    if (await tolerate(context, work)) removed++
  }
  for (const id of await emulators.present())
    if (!keep.has(id) && !(await runsUnknown(id, context))) await remove(() => emulators.clean(id))
  for (const save of await files.listSaves()) {
    const row = store.vms.get(save.vmId)
    if (row?.kind === 'vm' && mayHaveSave(row.record, save.partial)) continue
    if (row?.kind !== 'damaged') await remove(() => files.removeSave(save.vmId))
  }
  for (const id of await files.listMemories())
    if (!store.snapshots.get(id)) await remove(() => files.removeMemory(id))
  const nvrams = knownNvrams(store)
  for (const id of await files.listNvrams())
    if (!nvrams.has(id) && !keep.has(id)) await remove(() => files.removeNvram(id))
  for (const id of await files.listNotes())
    if (store.volumes.get(id)?.notesOf === undefined) await remove(() => files.removeNotes(id))
  for (const vmId of await files.listTpms()) if (!keep.has(vmId)) await remove(() => files.removeTpm(vmId))
  for (const vmId of await files.listSeeds()) if (!keep.has(vmId)) await remove(() => files.removeSeed(vmId))
  await tolerate(context, () => images.sweep())
  await tolerate(context, () => settleImageNames(context))
  return removed
}

/**
 * Whether an emulator runs whose VM the store does not know. No crash makes one: a row goes after its emulator. The store may have been
 * set back to an older copy, so it is left alone, and the audit tells of it.
 */
async function runsUnknown(id: string, context: Context): Promise<boolean> {
  const { emulators, log, store } = context.ports
  if (store.vms.get(id)) return false
  const found = await emulators.adopt(id, { timeoutMs: adoptTimeoutMs })
  if (found.kind === 'gone') return false
  if (found.kind === 'alive') await found.emulator.release()
  log.error({ vm: id }, 'an emulator runs that belongs to no VM of the store; it is left alone')
  return true
}

/** A VM that is `unknown` may be in the middle of a save. */
function mayHaveSave(record: VmRecord, isPartial: boolean): boolean {
  return record.intent.startsWith('save') || (record.saved !== undefined && !isPartial)
}

/** Does what may fail without holding up the daemon: the next start tries again, and the audit tells of it meanwhile. */
async function tolerate(context: Context, work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    context.ports.log.error({ err: error }, 'something that is left could not be removed')
    return false
  }
}

function endJobs(context: Context): void {
  const { store, clock } = context.ports
  const error = new KvasirError(
    'host-failed',
    'The daemon ended while the job was running, so the job ended too.',
  )
  store.transaction(() => {
    for (const job of store.jobs.endAbandoned(clock.now(), error.toProblem())) {
      store.idempotency.forgetJob(job.id) // Nothing came of it, so who asks again under its key gets another.
      context.emit('job.ended', job.id, { state: job.state, code: error.code, detail: error.message })
    }
  })
}

async function eachAtOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items]
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}
