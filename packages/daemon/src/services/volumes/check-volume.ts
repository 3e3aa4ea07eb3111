/** Looks a volume through for damage, or repairs it. What was found is in the job, whatever it is; damage that stays fails the job. */
import type { Job, VolumeCheck } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
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
    const found = await context.ports.access.check(sourceOf(held, context.ports), {
      repair,
      fileSizeBytes: 2 * held.capacityBytes + spareBytes,
      signal: job.signal,
    })
    job.found(found)
    job.outcome(outcomeOf(found))
    if (isSound(found)) return
    const advice = repair ? '' : ' Repair it with: kvasir volume repair'
    throw new KvasirError(
      'volume-damaged',
      `Volume ${volumeWords(volume)} is damaged: ${outcomeOf(found)}${advice}`,
      {
        details: { ...found },
      },
    )
  } finally {
    if (!volume.frozen) endWork(volume.id, context)
  }
}

/** Leaks cost space and no data, so a volume with nothing worse is sound. */
function isSound({ corruptions, errors }: VolumeCheck): boolean {
  return corruptions === 0 && errors === 0
}

function outcomeOf(found: VolumeCheck): string {
  const { corruptions, corruptionsFixed, errors, leaks, leaksFixed } = found
  const words = [
    counted(corruptionsFixed, 'corruption', 'repaired'),
    counted(leaksFixed, 'leaked cluster', 'given back'),
    counted(corruptions, 'corruption', 'left'),
    counted(leaks, 'leaked cluster', 'left'),
    counted(errors, 'place', 'that could not be looked at'),
  ].filter((part) => part !== undefined)
  return words.length === 0 ? 'Nothing is wrong with it.' : `${words.join(', ')}.`
}

function counted(count: number, noun: string, what: string): string | undefined {
  return count === 0 ? undefined : `${count} ${noun}${count === 1 ? '' : 's'} ${what}`
}
