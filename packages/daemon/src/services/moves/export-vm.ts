/**
 * Exports disks of a VM: full copies of what they are at one instant, as volumes of their own.
 *
 *     rows: copies `creating`, volumes `exported` ─▶ files ─▶ the emulator copies, and follows the guest ─▶ (the guest freezes)
 *       ─▶ it holds all disks ─▶ rows: copies `ready` ─▶ the emulator lets go of the copies
 *
 * The instant is the one in which all disks are held, each the same as its copy, which is flushed. The guest's requests wait from the
 * first hold to the last release. Nothing is laid over a disk, so nothing has to be merged, and it goes in every pool.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { MirrorProgress } from '../../ports/emulator-mirrors.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Context } from '../context.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import { layerOptions } from '../snapshots/layer-options.ts'
import { thaw } from '../snapshots/settle-snapshots.ts'
import { takePatiently } from '../snapshots/take-patiently.ts'
import { beginWork } from '../volumes/hold-volume.ts'
import { volumeChain } from '../volumes/volume-chain.ts'
import { makeVolumeFile, sourceOf } from '../volumes/volume-files.ts'
import { volumeWords } from '../volumes/volume-words.ts'
import { requireBooted } from './begin-move.ts'
import { giveUp } from './give-up.ts'
import { copyNow, writeLetGo } from './move-rows.ts'
import { type ExportRequest, type PlannedExport, planExport } from './plan-export.ts'
import { WritesOfGuest } from './writes-of-guest.ts'

interface Exporting {
  readonly driver: Driver
  readonly context: Context
  readonly job: JobHandle
  readonly request: ExportRequest
}

/** Exports disks. On failure nothing is left of it. Answers the names of the volumes. */
export async function exportVm(exporting: Exporting): Promise<string> {
  const { driver, context, job } = exporting
  const ids: string[] = []
  await using guest = new WritesOfGuest(exporting)
  try {
    await driver.take('merge', (seat) => begin(seat, exporting, ids), { jobId: job.id })
    await copyAll(ids, guest, exporting)
  } catch (error) {
    await giveUp(ids, exporting)
    throw error
  }
  return ids.map((id) => context.ports.store.volumes.get(id)?.name).join(', ')
}

/** The rows, the files, and the emulator copies; of a VM that is off, all of it. */
async function begin(seat: Seat, exporting: Exporting, ids: string[]): Promise<void> {
  const { context, job, request } = exporting
  const { ports } = context
  const { record, emulator } = seat
  requireSettled(record, ports)
  const planned = planExport(record, request, context)
  requireReachable(seat, planned)
  await ports.failpoint('vm.export.before-row')
  ports.store.transaction(() => {
    for (const { volume, copy } of planned) {
      ports.store.volumes.insert(copy)
      beginWork(volume, 'exported', context)
    }
  })
  ids.push(...planned.map(({ copy }) => copy.id))
  await ports.failpoint('vm.export.after-row')
  for (const one of planned)
    if (emulator) await beginLive(emulator, one, exporting)
    else
      await usablePool(one.copy.pool, ports).createCopy(one.copy, volumeChain(one.volume, ports), {
        signal: AbortSignal.any([seat.signal, job.signal]),
        onProgress: (fraction) => job.progress(`copying disk ${one.disk.name}`, fraction),
      })
  await ports.failpoint('vm.export.after-begin')
  if (!emulator) conclude(ids, { context, job })
}

function requireReachable({ record, emulator }: Seat, planned: readonly PlannedExport[]): void {
  if (emulator) for (const { disk } of planned) requireBooted(record, { disk }, 'exported')
  else if (!isOff(record))
    throw new KvasirError(
      'wrong-state',
      `VM ${record.name} is ${record.life.state}, so it is not exported now.`,
    )
}

async function beginLive(
  emulator: Emulator,
  { disk, copy }: PlannedExport,
  { driver, context, request }: Exporting,
): Promise<void> {
  const { ports } = context
  await makeVolumeFile(copy, ports)
  await emulator.blocks.mirrors.begin({
    disk: disk.name,
    id: copy.id,
    source: sourceOf(copy, ports),
    options: layerOptions({ disk: { ...disk, pool: copy.pool }, volume: copy }, driver.view().record, ports),
    bytesPerSecond: request.speed,
  })
}

/** Until all are the same as their disks, then the instant. */
async function copyAll(ids: readonly string[], guest: WritesOfGuest, exporting: Exporting): Promise<void> {
  const { driver, context, job } = exporting
  const { ports } = context
  for (const id of ids) {
    const copy = copyNow(id, ports.store)
    const { emulator } = driver.view()
    if (!copy || !emulator) continue
    const onProgress = (progress: MirrorProgress) => guest.note(copy, progress)
    await emulator.blocks.mirrors.follow({ disk: copy.move.disk, id }, { onProgress, signal: job.signal })
  }
  if (ids.every((id) => ports.store.volumes.get(id)?.phase === 'ready')) return // Of a VM that is off.
  const patience = { clock: ports.clock, signal: job.signal, jobId: job.id }
  await takePatiently(driver, 'merge', (seat) => takeInstant(seat, { ids, guest }, exporting), patience)
}

async function takeInstant(
  seat: Seat,
  { ids, guest }: { readonly ids: readonly string[]; readonly guest: WritesOfGuest },
  { context, job, request }: Exporting,
): Promise<void> {
  const { ports } = context
  const { emulator, record } = seat
  const copies = ids.flatMap((id) => copyNow(id, ports.store) ?? [])
  if (!emulator || copies.length < ids.length)
    throw new KvasirError('wrong-state', `VM ${record.name} ended before its disks were copied.`)
  const freezes = request.quiesce && record.life.state === 'running'
  const startedAt = ports.clock.monotonicMs()
  try {
    if (freezes) await emulator.agent.freeze()
    for (const copy of copies) {
      const onProgress = (progress: MirrorProgress) => guest.note(copy, progress)
      const signal = AbortSignal.any([seat.signal, job.signal])
      await emulator.blocks.mirrors.hold({ disk: copy.move.disk, id: copy.id }, { onProgress, signal })
    }
    await ports.failpoint('vm.export.after-hold')
    ports.store.transaction(() => {
      for (const copy of copies) ports.store.volumes.update({ ...copy, phase: 'ready' })
    })
    await ports.failpoint('vm.export.after-ready')
    for (const { id, move } of copies) await emulator.blocks.mirrors.abandon({ disk: move.disk, id })
  } finally {
    if (freezes) await thaw(emulator, ports)
  }
  job.outcome(`The disks waited for ${(ports.clock.monotonicMs() - startedAt).toFixed(1)} ms at most.`)
  conclude(ids, { context, job })
  await ports.failpoint('vm.export.after-done')
}

function conclude(
  ids: readonly string[],
  { context, job }: { readonly context: Context; readonly job: JobHandle },
): void {
  const copies = ids.flatMap((id) => copyNow(id, context.ports.store) ?? [])
  job.conclude(copies.map(({ name }) => name).join(', '), () => {
    for (const copy of copies) {
      writeLetGo({ ...copy, phase: 'ready' }, context.ports)
      context.emit('volume.created', volumeWords(copy), { id: copy.id })
    }
  })
}
