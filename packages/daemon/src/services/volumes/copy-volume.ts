/**
 * Clones and converts volumes. Both make another volume of the same content: a clone stays beside the first, a converted one takes its
 * place, in the transaction in which it is whole.
 *
 * The row of what is made says `creating` until then, and recovery undoes it; the row of the first says what is done to it.
 */
import type { Job, VolumeFormat } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Caller } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { exchangeNames } from '../snapshots/switch-layers.ts'
import { removeVolume } from '../vms/delete-vm.ts'
import { freeVolumeName } from '../vms/make-volumes.ts'
import { askPools } from './ask-pools.ts'
import { cloneKind } from './clone-kind.ts'
import { requireEncryption, requirePlain } from './encryption.ts'
import { beginWork, endWork, requireOff, requireWhole, withSeats } from './hold-volume.ts'
import { keepGround } from './keep-ground.ts'
import { requireFreeName } from './require-free-name.ts'
import { volumeChain } from './volume-chain.ts'
import { asMade, discardVolume, makeLinkedClone } from './volume-files.ts'
import { formatIn } from './volume-format.ts'
import { volumeWords } from './volume-words.ts'

const copyDeadlineMs = 24 * 3_600_000

export interface CloneVolumeRequest {
  readonly name: string
  /** Linked where that can be, unless it is said. */
  readonly mode?: 'linked' | 'full' | undefined
  readonly pool?: string | undefined
  readonly format?: VolumeFormat | undefined
  readonly compress?: boolean | undefined
}

/** Who asks for a job, and what is written with it. */
export interface Asked {
  readonly context: Context
  readonly caller: Caller
  readonly keep: (job: Job) => void
}

/** Begins to clone a volume. A linked clone makes the volume a base that nobody writes to any more, under a successor of its name. */
export function beginCloneVolume(volume: VolumeRecord, request: CloneVolumeRequest, asked: Asked): Job {
  const { context } = asked
  const place = { pool: request.pool ?? volume.pool, name: request.name }
  requireFree(place, context)
  requireWhole(volume)
  const { linked, liked } = cloneKind(volume, { ...request, pool: place.pool }, context)
  const format = formatIn(place.pool, { asked: request.format, liked }, context.ports)
  refuseCompressed(request.compress, linked ? 'none' : format)
  requireKept(volume, { pool: place.pool, format, compress: request.compress }, context)
  return beginCopyJob('volume.clone', volume, asked, async (job, seats) => {
    requireOff(volume, seats, 'is not cloned')
    const copy = newRow(volume, { ...place, format, baseId: linked ? volume.id : undefined }, context)
    const { independentClones } = usablePool(volume.pool, context.ports).capabilities
    const successor = linked && !independentClones ? successorOf(volume, context) : undefined
    const rows = successor ? [copy, successor] : [copy]
    const making = { rows, work: 'cloned' as const, job, compress: request.compress }
    await make(volume, making, context, (held, [made = copy]) => {
      job.conclude(copy.name, () => {
        finish(made, context)
        const { work: _, ...base } = held
        if (successor) exchangeNames(context.ports.store, base, successor)
      })
    })
    return copy.name
  })
}

/** Begins to convert a volume to another format or pool; the VM that has it goes on with what it becomes. */
export function beginConvertVolume(
  volume: VolumeRecord,
  request: Pick<CloneVolumeRequest, 'pool' | 'format' | 'compress'> & {
    /** The former volume stays. */
    readonly keep?: boolean
  },
  asked: Asked,
): Job {
  const { context } = asked
  const { store } = context.ports
  const pool = request.pool ?? volume.pool
  requireWhole(volume)
  if (pool !== volume.pool) requireFree({ pool, name: volume.name }, context)
  const format = formatIn(pool, { asked: request.format, liked: volume.format }, context.ports)
  refuseCompressed(request.compress, format)
  requireKept(volume, { pool, format, compress: request.compress }, context)
  const child = store.volumes.list().find((other) => other.baseId === volume.id)
  if (child)
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(child)} is based on ${volumeWords(volume)}, so it is not converted.`,
    )
  return beginCopyJob('volume.convert', volume, asked, async (job, seats) => {
    requireOff(volume, seats, 'is not converted')
    const name =
      pool === volume.pool
        ? freeVolumeName({ pool, name: `${volume.name}.new` }, context.ports, new Set())
        : volume.name
    const row = newRow(volume, { pool, name, format, baseId: undefined }, context)
    const making = { rows: [row], work: 'converted' as const, job, compress: request.compress }
    await make(volume, making, context, (held, [made = row]) => {
      const done = { row: made, seats, keep: request.keep ?? false }
      job.conclude(volume.name, () => takePlace(held, done, context))
    })
    const old = store.volumes.get(volume.id)
    if (old?.phase === 'deleting') await removeVolume(old, context)
    return volume.name
  })
}

/** What is encrypted stays so. */
function requireKept(
  volume: VolumeRecord,
  to: { readonly pool: string; readonly format: VolumeFormat; readonly compress: boolean | undefined },
  { ports }: Context,
): void {
  if (volume.encryption === undefined) return
  requireEncryption(to, ports)
  if (to.compress) requirePlain(volume, 'it is not compressed')
}

/** Only qcow2 has compressed clusters, and only what is copied is compressed. */
function refuseCompressed(compress: boolean | undefined, format: VolumeFormat | 'none'): void {
  if (!compress || format === 'qcow2') return
  throw new KvasirError(
    'bad-request',
    format === 'raw'
      ? 'A raw volume is not compressed; that takes qcow2.'
      : 'A linked clone copies nothing that could be compressed; that takes a full one.',
  )
}

/** Frozen bases keep what a format allows: only qcow2 can be laid over something. */
function successorOf(volume: VolumeRecord, context: Context): VolumeRecord {
  const name = freeVolumeName({ pool: volume.pool, name: `${volume.name}.base` }, context.ports, new Set())
  return newRow(volume, { pool: volume.pool, name, format: 'qcow2', baseId: volume.id }, context)
}

function newRow(
  source: VolumeRecord,
  made: Pick<VolumeRecord, 'pool' | 'name' | 'format' | 'baseId'>,
  { ports }: Context,
): VolumeRecord {
  return {
    ...made,
    id: ports.clock.uuid(),
    capacityBytes: source.capacityBytes,
    ...(source.encryption === undefined ? {} : { encryption: source.encryption }),
    imageId: undefined,
    phase: 'creating',
    frozen: false,
    madeForVm: undefined,
    createdAt: ports.clock.now(),
  }
}

interface Made {
  readonly rows: readonly VolumeRecord[]
  readonly work: 'cloned' | 'converted'
  readonly job: JobHandle
  readonly compress: boolean | undefined
}

/** Rows first, then what they stand for; `conclude` makes it whole in one transaction. */
async function make(
  volume: VolumeRecord,
  { rows, work, job, compress = false }: Made,
  context: Context,
  conclude: (held: VolumeRecord, made: readonly VolumeRecord[]) => void,
): Promise<void> {
  const { ports } = context
  const { failpoint, store } = ports
  await failpoint('volume.copy.before-row')
  const held = store.transaction(() => {
    for (const row of rows) {
      usablePool(row.pool, ports)
      store.volumes.insert(row)
    }
    return beginWork(volume, work, context)
  })
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => endWork(volume.id, context))
  for (const row of rows) undo.defer(() => discardVolume(row, ports))
  await failpoint('volume.copy.after-row')
  const made: VolumeRecord[] = []
  for (const row of rows) {
    job.signal.throwIfAborted()
    await askPools(volume, ports)
    if (row.baseId !== undefined) {
      made.push(await makeLinkedClone(row, ports))
      continue
    }
    await usablePool(row.pool, ports).createCopy(row, volumeChain(volume, ports), {
      ...(compress ? { compress } : {}),
      signal: job.signal,
      onProgress: (fraction) => job.progress(`copying ${volumeWords(volume)}`, fraction),
    })
    made.push(await asMade(row, ports))
  }
  await failpoint('volume.copy.after-file')
  conclude(held, made)
  undo.move()
  endWork(volume.id, context)
  await failpoint('volume.copy.after-ready')
}

/** In a transaction: the copy is the volume, and the VM's spec says where it lies. */
function takePlace(
  held: VolumeRecord,
  {
    row,
    seats,
    keep,
  }: { readonly row: VolumeRecord; readonly seats: readonly Seat[]; readonly keep: boolean },
  context: Context,
): void {
  const { store } = context.ports
  const { work: _, ...old } = held
  const isHere = row.pool === held.pool
  const left = { pool: old.pool, name: `${old.name}.old` }
  if (!keep) keepGround(old, context.ports)
  store.volumes.update({
    ...old,
    phase: keep ? 'ready' : 'deleting',
    madeForVm: undefined,
    name: isHere ? freeVolumeName(left, context.ports, new Set()) : old.name,
  })
  store.volumes.update({ ...row, name: held.name, phase: 'ready', madeForVm: held.madeForVm })
  for (const seat of seats) {
    const { spec, revision } = seat.record
    const disks = spec.disks.map((disk) =>
      disk.volume === held.name && disk.pool === held.pool ? { ...disk, pool: row.pool } : disk,
    )
    if (!isHere) seat.update({ spec: { ...spec, disks }, revision: revision + 1 })
  }
  context.emit('volume.changed', volumeWords({ pool: row.pool, name: held.name }), {
    id: row.id,
    format: row.format,
    pool: row.pool,
  })
}

function finish(row: VolumeRecord, context: Context): void {
  context.ports.store.volumes.update({ ...row, phase: 'ready' })
  context.emit('volume.created', volumeWords(row), { id: row.id })
}

function requireFree(place: { readonly pool: string; readonly name: string }, { ports }: Context): void {
  usablePool(place.pool, ports)
  requireFreeName(place, ports)
}

/** Begins a job on a volume that holds the seats of the VMs that have it. */
export function beginCopyJob(
  kind: 'volume.clone' | 'volume.convert',
  volume: VolumeRecord,
  { context, caller, keep }: Asked,
  work: (job: JobHandle, seats: readonly Seat[]) => Promise<string>,
): Job {
  return context.jobs.run(
    {
      kind,
      subject: { kind: 'volume', name: volume.name, id: volume.id },
      owner: caller.name,
      deadlineMs: copyDeadlineMs,
      alongside: keep,
    },
    (job) => withSeats(volume, context, (seats) => work(job, seats)),
  )
}
