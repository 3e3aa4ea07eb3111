/** Looks a volume through for damage, or repairs it. What was found is in the job, whatever it is; damage that stays fails the job. */
import type { Job, VolumeCheck } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { damageOfTables } from '../../model/qemu/damaged-disk.ts'
import type { Qcow2Table } from '../../model/storage/qcow2-header.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Caller } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { usablePlace } from '../pools/usable-pool.ts'
import { askPools } from './ask-pools.ts'
import { beginWork, endWork, requireNoWork, requireOff, requireWhole, withSeats } from './hold-volume.ts'
import { sourceOf } from './volume-files.ts'
import { volumeWords } from './volume-words.ts'

const checkDeadlineMs = 24 * 3_600_000
/** Beside its contents, for the tables that a repair writes anew. */
const spareBytes = 1024 ** 3

/** What is to be done with what is found. */
export interface CheckRequest {
  readonly repair: boolean
}

/** Begins to check or repair a volume. `in-use` while a VM that has it is not off. */
export function beginCheckVolume(
  volume: VolumeRecord,
  { repair }: CheckRequest,
  { context, caller }: { readonly context: Context; readonly caller: Caller },
): Job {
  if (repair) requireWhole(volume)
  else requireNoWork(volume)
  usablePlace(volume, context.ports)
  return context.jobs.run(
    {
      kind: repair ? 'volume.repair' : 'volume.check',
      subject: { kind: 'volume', name: volume.name, id: volume.id },
      owner: caller.name,
      deadlineMs: checkDeadlineMs,
    },
    (job) =>
      withSeats(volume, context, async (seats) => {
        requireOff(volume, seats, repair ? 'is not repaired' : 'is not checked')
        await checkHeld(volume, job, { context, repair })
        return volume.name
      }),
  )
}

async function checkHeld(
  volume: VolumeRecord,
  job: JobHandle,
  { context, repair }: { readonly context: Context; readonly repair: boolean },
): Promise<void> {
  if (volume.format === 'raw') {
    job.outcome(
      `Volume ${volumeWords(volume)} is raw: it has no tables that could be damaged, so there is nothing to check.`,
    )
    return
  }
  // Of a base, nothing changes while others are based on it, so it needs no lock.
  const held = volume.frozen ? volume : beginWork(volume, repair ? 'repaired' : 'checked', context)
  try {
    job.progress(repair ? 'repairing' : 'checking')
    await askPools(held, context.ports)
    const { access } = context.ports
    const source = sourceOf(held, context.ports)
    const before = await access.tableBehindEnd(source, job)
    if (before === 'clusters' && repair) throw notRepaired(volume)
    const fileSizeBytes = 2 * held.capacityBytes + spareBytes
    const found = await access.check(source, { repair, fileSizeBytes, signal: job.signal })
    const lost = before && repair ? await access.tableBehindEnd(source, job) : before
    job.found(found)
    const outcome = outcomeOf(found, lost)
    job.outcome(outcome)
    if (isSound(found) && !lost) return
    throw new KvasirError(
      'volume-damaged',
      `Volume ${volumeWords(volume)} is damaged: ${outcome}${adviceOn(lost, repair)}`,
      { details: { ...found } },
    )
  } finally {
    if (!volume.frozen) endWork(volume.id, context)
  }
}

const restore = 'Restore it from a backup or another copy; no repair brings back what is gone.'

/** Without its clusters it is refused before anything is written: a repair would make an empty volume of it that is in good order. */
function notRepaired(volume: VolumeRecord): KvasirError {
  const { why } = damageOfTables('clusters')
  return new KvasirError(
    'volume-damaged',
    `Volume ${volumeWords(volume)} ${why}, and a repair would take what is gone for what was never written, so it is left as it is. ${restore}`,
    { details: { why } },
  )
}

function adviceOn(lost: Qcow2Table | undefined, repair: boolean): string {
  if (lost === 'clusters') return ` ${restore}`
  return repair ? '' : ' Repair it with: kvasir volume repair'
}

/** Leaks cost space and no data, so a volume with nothing worse is sound. */
function isSound({ corruptions, errors }: VolumeCheck): boolean {
  return corruptions === 0 && errors === 0
}

function outcomeOf(found: VolumeCheck, lost: Qcow2Table | undefined): string {
  const words = countsOf(found)
  if (lost) return [`It ${damageOfTables(lost).why}.`, ...words].join(' ')
  return words[0] ?? 'Nothing is wrong with it.'
}

/** As one sentence, if there is anything to count. */
function countsOf(found: VolumeCheck): readonly string[] {
  const { corruptions, corruptionsFixed, errors, leaks, leaksFixed } = found
  const words = [
    counted(corruptionsFixed, 'corruption', 'repaired'),
    counted(leaksFixed, 'leaked cluster', 'given back'),
    counted(corruptions, 'corruption', 'left'),
    counted(leaks, 'leaked cluster', 'left'),
    counted(errors, 'place', 'that could not be looked at'),
  ].filter((part) => part !== undefined)
  return words.length === 0 ? [] : [`${words.join(', ')}.`]
}

function counted(count: number, noun: string, what: string): string | undefined {
  return count === 0 ? undefined : `${count} ${noun}${count === 1 ? '' : 's'} ${what}`
}
