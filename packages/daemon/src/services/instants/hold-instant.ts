/**
 * Keeps disks of a running VM as they were at one instant, for as long as somebody reads of it.
 *
 *     rows: scratches `creating`, volumes `exported`, the checkpoint `creating` ─▶ files ─▶ (the guest freezes) ─▶ the guest stands, and the
 *       emulator keeps all disks ─▶ row: the checkpoint `ready` ─▶ it is read ─▶ the emulator lets go ─▶ the scratches go
 *
 * The disks, or what changed of them, are copied to the scratches first, so a reader that is slow, or stands still, holds up no guest. Before
 * the pool of a scratch is full, the instant ends. Nothing of it outlasts its daemon or its emulator.
 */
import { formatBytes, KvasirError, type NewInstant } from '@kvasir/contract'
import { bitmapName } from '../../model/storage/checkpoint-state.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import {
  planCheckpoint,
  settleCheckpoints,
  withCheckpoint,
  withoutCheckpoint,
} from '../checkpoints/checkpoint-rows.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { giveUp } from '../moves/give-up.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { layerOptions } from '../snapshots/layer-options.ts'
import { thaw } from '../snapshots/settle-snapshots.ts'
import { whileStanding } from '../snapshots/stand-still.ts'
import { takePatiently } from '../snapshots/take-patiently.ts'
import { beginWork } from '../volumes/hold-volume.ts'
import { makeVolumeFile, sourceOf } from '../volumes/volume-files.ts'
import { LiveInstant } from './live-instant.ts'
import { type PlannedDisk, planInstant } from './plan-instant.ts'

/** What is left in the pool of a scratch, at the least: a guest must not find it full. */
const reservedBytes = 64 * 2 ** 20
const lookMs = 200

/** An instant that is to be kept. */
export interface Holding {
  readonly driver: Driver
  readonly context: Context
  readonly job: JobHandle
  readonly request: NewInstant
  /** Told of it in the transaction after which its checkpoint is there. */
  readonly keep: (instant: LiveInstant) => void
  /** Told when the guest goes on. */
  readonly onKept: (instant: LiveInstant) => void
}

/** Keeps an instant until it is to end. Nothing is left of it but its checkpoint. Answers the names of the disks. */
export async function holdInstant(holding: Holding): Promise<string> {
  const { driver, context, job, onKept } = holding
  const ids: string[] = []
  let instant: LiveInstant | undefined
  try {
    instant = await driver.take('merge', (seat) => takeInstant(seat, holding, ids), { jobId: job.id })
    onKept(instant)
    await untilItEnds(instant, holding)
    return instant.disks.map(({ disk }) => disk).join(', ')
  } finally {
    await instant?.stopServing()
    await giveUp(ids, holding)
    await context.ports.failpoint('vm.instant.after-end')
    await goOnAfterFull(holding)
  }
}

async function takeInstant(seat: Seat, holding: Holding, ids: string[]): Promise<LiveInstant> {
  const { context, request, job } = holding
  const { ports } = context
  const { record, emulator } = seat
  if (!emulator)
    throw new KvasirError(
      'wrong-state',
      `VM ${record.name} is ${record.life.state}, so no instant of it is kept; its volumes can be downloaded.`,
    )
  await settleCheckpoints(seat)
  requireSettled(record, ports)
  const planned = await planInstant({ record, emulator }, request, ports)
  const names = planned.map(({ disk }) => disk.name)
  const { checkpoint: name } = request
  const begun =
    name === undefined ? undefined : planCheckpoint(record, { name, description: '', disks: names }, ports)
  for (const { scratch } of planned) await requireRoom(scratch.pool, context)
  await ports.failpoint('vm.instant.before-row')
  seat.update(begun ? withCheckpoint(record, begun) : {}, () => {
    for (const { volume, scratch } of planned) {
      ports.store.volumes.insert(scratch)
      beginWork(volume, 'exported', context)
    }
  })
  ids.push(...planned.map(({ scratch }) => scratch.id))
  try {
    await ports.failpoint('vm.instant.after-row')
    for (const { scratch } of planned) await makeVolumeFile(scratch, ports)
    await ports.failpoint('vm.instant.after-files')
    const stoodMs = await keep(seat, emulator, { planned, holding, begins: begun && bitmapName(begun.id) })
    await ports.failpoint('vm.instant.after-take')
    const instant = instantOf(seat, planned, { holding, stoodMs })
    const ready = begun && withCheckpoint(seat.record, { ...begun, phase: 'ready' })
    seat.update(ready ?? {}, () => holding.keep(instant))
    await ports.failpoint('vm.instant.after-ready')
    job.outcome(`The guest stood for ${stoodMs.toFixed(1)} ms at most.`)
    return instant
  } catch (error) {
    if (begun) seat.update(withoutCheckpoint(seat.record, begun)) // Its bitmaps are of no row then.
    throw error
  }
}

/** Answers how long the guest stood, or its file systems were frozen. */
async function keep(
  seat: Seat,
  emulator: Emulator,
  work: {
    readonly planned: readonly PlannedDisk[]
    readonly holding: Holding
    readonly begins: string | undefined
  },
): Promise<number> {
  const { planned, holding, begins } = work
  const { ports } = holding.context
  const { record } = seat
  const kept = planned.map(({ disk, scratch, since }) => ({
    disk: disk.name,
    id: scratch.id,
    source: sourceOf(scratch, ports),
    options: layerOptions({ disk: { ...disk, pool: scratch.pool }, volume: scratch }, record, ports),
    since,
  }))
  await emulator.blocks.instants.open(kept)
  const freezes = holding.request.quiesce && record.life.state === 'running'
  const startedAt = ports.clock.monotonicMs()
  try {
    if (freezes) await emulator.agent.freeze()
    await whileStanding(seat, 'its disks are being kept as they are', () =>
      emulator.blocks.instants.take(kept, { begins }),
    )
  } finally {
    if (freezes) await thaw(emulator, ports)
  }
  return ports.clock.monotonicMs() - startedAt
}

function instantOf(
  { record }: Seat,
  planned: readonly PlannedDisk[],
  { holding, stoodMs }: { readonly holding: Holding; readonly stoodMs: number },
): LiveInstant {
  const { request, job, context } = holding
  const { clock } = context.ports
  return new LiveInstant({
    about: {
      id: job.id,
      vm: record.name,
      createdAt: clock.now(),
      ...(request.since === undefined ? {} : { since: request.since }),
      ...(request.checkpoint === undefined ? {} : { checkpoint: request.checkpoint }),
      quiesced: request.quiesce && record.life.state === 'running',
      stoodMs,
    },
    vmId: record.id,
    disks: planned.map(({ disk, scratch, since, reason }) => ({
      disk: disk.name,
      scratch,
      kind: since === undefined ? 'full' : 'increment',
      reason,
    })),
    clock,
  })
}

/** Until somebody ends it, nobody reads of it any more, its VM ends, or the room for what is overwritten does. */
async function untilItEnds(instant: LiveInstant, { driver, context, job, request }: Holding): Promise<void> {
  const { clock } = context.ports
  const { emulator } = driver.view()
  const signal = AbortSignal.any([instant.ending, job.signal])
  try {
    while (!instant.ending.aborted) {
      await noteCopied(instant, { driver, job })
      if (driver.view().emulator !== emulator)
        throw new KvasirError('wrong-state', `VM ${instant.about.vm} ended, and the instant with it.`)
      if (instant.isCopied && instant.idleMs() > request.idleSeconds * 1000) {
        job.outcome(`Nobody read of it for ${request.idleSeconds} s, so it was ended.`)
        break
      }
      for (const pool of new Set(instant.disks.map(({ scratch }) => scratch.pool)))
        await requireRoom(pool, context)
      await clock.sleep(lookMs, signal).catch(() => undefined)
      job.signal.throwIfAborted()
    }
  } catch (error) {
    instant.end(
      error instanceof KvasirError
        ? error
        : new KvasirError('internal', 'The instant ended.', { cause: error }),
    )
    throw error
  }
  instant.end(new KvasirError('instant-not-found', `Instant ${instant.about.id} was ended.`))
}

async function noteCopied(
  instant: LiveInstant,
  { driver, job }: Pick<Holding, 'driver' | 'job'>,
): Promise<void> {
  if (instant.isCopied) return
  const { emulator } = driver.view()
  const shares = await Promise.all(
    instant.disks.map(
      async ({ disk, scratch }) => await emulator?.blocks.instants.copied({ disk, id: scratch.id }),
    ),
  )
  const least = Math.min(...shares.map((share) => share ?? 0))
  instant.noteCopied(least)
  if (instant.isCopied) job.progress('kept to be read')
  else job.progress('copying the disks', least)
}

async function requireRoom(pool: string, { ports }: Context): Promise<void> {
  const { availableBytes } = await usablePool(pool, ports).inspect()
  if (availableBytes > reservedBytes) return
  throw new KvasirError(
    'not-enough-space',
    `Pool ${pool} has ${formatBytes(availableBytes)} left, too little for what the guest overwrites, so nothing is kept.`,
    { details: { pool } },
  )
}

/** A guest that filled the pool faster than it was looked at stands, and there is room again. */
async function goOnAfterFull({ driver, context, job }: Holding): Promise<void> {
  const { record } = driver.view()
  if (record.life.state !== 'paused' || !/no space/.test(record.life.reason)) return
  const { clock, log } = context.ports
  const patience = { clock, signal: AbortSignal.timeout(60_000), jobId: job.id }
  await takePatiently(
    driver,
    'resume',
    async (seat) => {
      await seat.emulator?.resume()
      seat.update({ intent: 'none', life: seat.life('running', 'there is space again') })
    },
    patience,
  ).catch((err: unknown) => log.warn({ vm: record.name, err }, 'a VM without space was not resumed'))
}
