/**
 * How a lab comes up: from a snapshot, or by a boot, after which one is taken.
 *
 *     snapshot ──answers──▶ runs             boot ──answers──▶ snapshot is taken, runs
 *        └──silence: it is dropped──▶ boot     └──silence: said how far it came──▶ boot once more
 *
 * It boots with one thread for all CPUs, and has one for each when it is back from the snapshot. With one for each, QEMU 10.0 loses the
 * end of a timer interrupt while the kernel still ticks periodically, in one boot of 15 on a quiet machine and in more on a busy one: the
 * CPU then halts with vector 236 in service for ever, and the kernel reports an RCU stall.
 */
import type { LabImage } from '../image/build-image.ts'
import { provideImage } from '../image/build-image.ts'
import { AgentSession } from './agent-session.ts'
import type { Threads } from './command-line.ts'
import { forgetDisks, noteSnapshot, provideDisks, type SnapshotName } from './disk-state.ts'
import { instructionPointers, lastWords, saveSnapshot, startEmulator, stopEmulator } from './emulator.ts'
import type { Place } from './places.ts'

/** How long a boot may take until the agent answers; a quiet machine takes 25 s. */
const bootTimeoutMs = 300_000
/** From a snapshot it takes 1 to 3 s. */
const snapshotTimeoutMs = 60_000

/** How a lab is started. */
export interface Start {
  readonly say: (line: string) => void
  /** Where to begin; a snapshot that is not there is no reason to fail. */
  readonly from: SnapshotName
  readonly outlivesUs: boolean
  /** How its CPUs are emulated once it is back from a snapshot. */
  readonly threads: Threads
}

/** A lab that answers. */
export interface StartedLab {
  readonly session: AgentSession
  /** Settles when its emulator is gone, with how it ended. */
  readonly ended: Promise<string>
}

/** Starts the lab of a place. */
export async function startLab(place: Place, options: Start): Promise<StartedLab> {
  const image = await provideImage(place.cache, options.say)
  const snapshots = await provideDisks(place, image)
  const snapshot = [options.from, 'booted' as const].find((name) => snapshots.includes(name))
  if (snapshot !== undefined) {
    const startedAt = performance.now()
    try {
      const started = await startFrom(image, {
        place,
        snapshot,
        timeoutMs: snapshotTimeoutMs,
        ...options,
      })
      options.say(`The lab is back from its snapshot after ${seconds(startedAt)} s.`)
      return started
    } catch (error) {
      options.say(`${wordsOf(error)}\nSo the snapshot is dropped, and the lab boots.`)
      await beginAnew(place, image)
    }
  }
  return await boot(image, { place, ...options })
}

/** Keeps the lab that runs under a name. */
export async function takeSnapshot(place: Place, name: SnapshotName): Promise<void> {
  await saveSnapshot(place, name)
  await noteSnapshot(place, { name, isThere: true })
}

async function boot(image: LabImage, options: Start & { readonly place: Place }): Promise<StartedLab> {
  const { place, say } = options
  try {
    return await bootOnce(image, options)
  } catch (error) {
    say(`${wordsOf(error)}\nSo the lab boots once more.`)
    await beginAnew(place, image)
    return await bootOnce(image, options)
  }
}

async function bootOnce(image: LabImage, options: Start & { readonly place: Place }): Promise<StartedLab> {
  const startedAt = performance.now()
  const started = await startFrom(image, {
    ...options,
    snapshot: undefined,
    threads: 'single',
    timeoutMs: bootTimeoutMs,
  })
  options.say(`The lab has booted in ${seconds(startedAt)} s.`)
  await takeSnapshot(options.place, 'booted')
  return started
}

async function beginAnew(place: Place, image: LabImage): Promise<void> {
  await stopEmulator(place)
  await forgetDisks(place)
  await provideDisks(place, image)
}

async function startFrom(
  image: LabImage,
  {
    place,
    timeoutMs,
    ...options
  }: Start & {
    readonly place: Place
    readonly snapshot: string | undefined
    readonly timeoutMs: number
  },
): Promise<StartedLab> {
  const { ended } = await startEmulator(image, { place, ...options })
  const given = new AbortController()
  void ended.then((how) =>
    given.abort(new Error(`The emulator of the lab ended before the lab answered, ${how}.`)),
  )
  try {
    return {
      session: await AgentSession.open(place.agentSockets, { timeoutMs, signal: given.signal }),
      ended,
    }
  } catch (error) {
    throw new Error(
      [
        wordsOf(error),
        `Its CPUs are at: ${await instructionPointers(place)}`,
        `The last words:\n${await lastWords(place)}`,
      ].join('\n'),
      { cause: error },
    )
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1)
}
