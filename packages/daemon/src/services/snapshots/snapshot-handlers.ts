/** The handlers of snapshots: shown at once, made and unmade by jobs. */
import type { Job } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import type { Caller, Handlers } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { createSnapshot } from './create-snapshot.ts'
import { deleteSnapshot } from './delete-snapshot.ts'
import { requireSnapshot } from './find-snapshot.ts'
import { revertSnapshot } from './revert-snapshot.ts'
import { showSnapshot } from './show-snapshot.ts'

type SnapshotHandlerIds =
  | 'listSnapshots'
  | 'getSnapshot'
  | 'createSnapshot'
  | 'deleteSnapshot'
  | 'revertSnapshot'

const createDeadlineMs = 10 * 60_000
const deleteDeadlineMs = 24 * 60 * 60_000
const revertDeadlineMs = 30 * 60_000

/** The handlers of everything under `/v1/vms/{name}/snapshots`. */
export function createSnapshotHandlers(context: Context): Pick<Handlers, SnapshotHandlerIds> {
  const { ports, drivers, jobs } = context
  const wait = (job: Job, seconds: number | undefined, signal: AbortSignal) =>
    jobs.wait(job.id, (seconds ?? 0) * 1000, signal)
  return {
    async listSnapshots({ params }) {
      const { record } = drivers.find(params.name).view()
      const snapshots = ports.store.snapshots.ofVm(record.id)
      return await Promise.all(snapshots.map((snapshot) => showSnapshot(snapshot, record, ports)))
    },
    async getSnapshot({ params }) {
      const { record } = drivers.find(params.name).view()
      return await showSnapshot(requireSnapshot(record, params.snapshot, ports), record, ports)
    },
    async createSnapshot({ params, query, body, caller, keep, signal }) {
      const driver = drivers.find(params.name)
      driver.requireAllowed('snapshot')
      requireFreeSnapshotName(driver, body.name, context)
      const work = async (job: JobHandle) => {
        try {
          await createSnapshot(driver, context, { ...body, job })
        } finally {
          resumeDeletions(context, driver.id) // Of one that was to have memory and has not.
        }
      }
      const job = begin(driver, context, {
        kind: 'snapshot.create',
        caller,
        deadlineMs: createDeadlineMs,
        alongside: keep,
        work,
      })
      return await wait(job, query.wait, signal)
    },
    async deleteSnapshot({ params, query, caller, signal }) {
      const driver = drivers.find(params.name)
      requireSnapshot(driver.view().record, params.snapshot, ports)
      driver.requireAllowed('merge')
      return await wait(beginDeletion(driver, context, { name: params.snapshot, caller }), query.wait, signal)
    },
    async revertSnapshot({ params, query, body, caller, signal }) {
      const driver = drivers.find(params.name)
      requireSnapshot(driver.view().record, params.snapshot, ports)
      driver.requireAllowed('revert')
      const work = (job: JobHandle) =>
        revertSnapshot(driver, context, { name: params.snapshot, keep: body.keep, job })
      const job = begin(driver, context, {
        kind: 'snapshot.revert',
        caller,
        deadlineMs: revertDeadlineMs,
        work,
      })
      return await wait(job, query.wait, signal)
    },
  }
}

/** Goes on with the deletions that a former daemon began, or that a snapshot's making came to. */
export function resumeDeletions(context: Context, vmId?: string): void {
  const { store, log } = context.ports
  for (const snapshot of vmId === undefined ? store.snapshots.list() : store.snapshots.ofVm(vmId)) {
    const driver = context.drivers.get(snapshot.vmId)
    if (snapshot.phase !== 'deleting' || !driver) continue
    log.info({ vm: driver.view().record.name, snapshot: snapshot.name }, 'a snapshot is deleted on')
    beginDeletion(driver, context, { name: snapshot.name, caller: { name: 'recovery' } })
  }
}

/** Begins a deletion; one that is under way already is followed. */
function beginDeletion(
  driver: Driver,
  context: Context,
  { name, caller }: { readonly name: string; readonly caller: Caller },
): Job {
  const { record } = driver.view()
  const underWay = context.jobs.newest('snapshot.delete', record.id)
  if (underWay && requireSnapshot(record, name, context.ports).phase === 'deleting') return underWay
  return begin(driver, context, {
    kind: 'snapshot.delete',
    caller,
    deadlineMs: deleteDeadlineMs,
    work: (job) => deleteSnapshot(driver, context, { name, job }),
  })
}

function begin(
  driver: Driver,
  context: Context,
  request: {
    readonly kind: 'snapshot.create' | 'snapshot.delete' | 'snapshot.revert'
    readonly caller: Caller
    readonly deadlineMs: number
    readonly alongside?: (job: Job) => void
    readonly work: (job: JobHandle) => Promise<void>
  },
): Job {
  const { record } = driver.view()
  const { kind, caller, deadlineMs, alongside, work } = request
  const subject = { kind: 'vm' as const, name: record.name, id: record.id }
  return context.jobs.run({ kind, subject, owner: caller.name, deadlineMs, alongside }, async (job) => {
    await work(job)
    return driver.view().record.name
  })
}

function requireFreeSnapshotName(driver: Driver, name: string, { ports }: Context): void {
  const { record } = driver.view()
  if (!ports.store.snapshots.ofVm(record.id).some((snapshot) => snapshot.name === name)) return
  throw new KvasirError('name-taken', `VM ${record.name} has a snapshot ${name} already.`)
}
