/**
 * The lab of a checkout: built when it is not, booted or brought back from a snapshot, reached, ended.
 *
 *     (nothing) ──build──▶ image ──boot──▶ runs ──snapshot──▶ runs, and comes back to this moment
 *                            └──from the snapshot──▲
 *
 * Invariant: whoever has a Lab can run programs in it, and sees the checkout there under its own path, as it is at that moment.
 *
 * Not here: how it is built (image/), the machine (command-line.ts), the words of `npm run lab` (../commands.ts).
 */
import type { LabImage } from '../image/build-image.ts'
import { provideImage } from '../image/build-image.ts'
import { AgentSession } from './agent-session.ts'
import { forgetDisks, noteSnapshot, provideDisks, type SnapshotName } from './disk-state.ts'
import {
  deleteSnapshot,
  findEmulator,
  lastWords,
  plugNvme,
  saveSnapshot,
  startEmulator,
  stopEmulator,
  unplugNvme,
} from './emulator.ts'
import { type Place, placeOf } from './places.ts'

/** How long a boot may take until the agent answers; a quiet machine with two CPUs takes 20 s. */
const bootTimeoutMs = 300_000
const answerTimeoutMs = 30_000

/** How a lab is opened. */
export interface LabOptions {
  readonly checkout: string
  readonly say: (line: string) => void
  /** Where to begin if it does not run; a snapshot that is not there is no reason to fail. */
  readonly from: SnapshotName
  /** Whether it runs on when this process ends. */
  readonly outlivesUs: boolean
}

/** A lab that runs and answers. */
export interface Lab {
  readonly place: Place
  readonly session: AgentSession
  /** Whether it ran already. */
  readonly wasRunning: boolean
}

/** Opens the lab: the one that runs, or a new one. */
export async function openLab(options: LabOptions): Promise<Lab> {
  refuseOtherMachines()
  const place = placeOf(options.checkout)
  const wasRunning = (await findEmulator(place)) !== undefined
  try {
    const session = wasRunning
      ? await AgentSession.open(place.agentSockets, { timeoutMs: answerTimeoutMs })
      : await startLab(place, options)
    await connect(session, place)
    return { place, session, wasRunning }
  } catch (error) {
    if (!wasRunning) await stopEmulator(place)
    throw error
  }
}

/** Whether the lab of a checkout runs. */
export async function isLabRunning(checkout: string): Promise<boolean> {
  return (await findEmulator(placeOf(checkout))) !== undefined
}

/** Ends the lab; it begins at its snapshot the next time. */
export async function stopLab(place: Place): Promise<void> {
  await stopEmulator(place)
}

/** Keeps the lab as it is: memory, programs, disks. The next one begins here. */
export async function keepLab({ place, session }: Lab): Promise<void> {
  await session.shell('/usr/lib/kvasir-lab/detach-checkout')
  await unplugNvme(place)
  await takeSnapshot(place, 'kept')
  await connect(session, place)
}

/** Forgets what was kept; the next lab begins where it had booted. */
export async function forgetKept({ place }: Lab): Promise<void> {
  await deleteSnapshot(place, 'kept')
  await noteSnapshot(place, { name: 'kept', isThere: false })
}

function refuseOtherMachines(): void {
  if (process.arch !== 'x64')
    throw new Error(`The lab is an x86-64 machine and runs on one only, not ${process.arch}.`)
  if (process.getuid?.() !== 0) throw new Error('The lab is built and run by root: run this with sudo.')
}

async function startLab(place: Place, options: LabOptions): Promise<AgentSession> {
  const image = await provideImage(place.cache, options.say)
  const snapshots = await provideDisks(place, image)
  const snapshot = [options.from, 'booted' as const].find((name) => snapshots.includes(name))
  if (snapshot === undefined) return await boot(image, { place, ...options })
  try {
    const startedAt = performance.now()
    const session = await startFrom(image, { place, snapshot, ...options })
    options.say(`The lab is back from its snapshot after ${seconds(startedAt)} s.`)
    return session
  } catch (error) {
    options.say(
      `${error instanceof Error ? error.message : String(error)}\nSo the snapshot is dropped, and the lab boots.`,
    )
    await stopEmulator(place)
    await forgetDisks(place)
    await provideDisks(place, image)
    return await boot(image, { place, ...options })
  }
}

type Start = LabOptions & { readonly place: Place }

async function boot(image: LabImage, options: Start): Promise<AgentSession> {
  const startedAt = performance.now()
  const session = await startFrom(image, { ...options, snapshot: undefined })
  options.say(`The lab has booted in ${seconds(startedAt)} s.`)
  await takeSnapshot(options.place, 'booted')
  return session
}

async function startFrom(
  image: LabImage,
  { place, snapshot, outlivesUs }: Start & { readonly snapshot: string | undefined },
): Promise<AgentSession> {
  const { ended } = await startEmulator(image, { place, snapshot, outlivesUs })
  const given = new AbortController()
  const early = ended.then(async () => {
    given.abort()
    throw new Error(
      `The emulator of the lab ended before the lab answered. The last words:\n${await lastWords(place)}`,
    )
  })
  early.catch(() => {}) // The lab ends some day.
  const opened = AgentSession.open(place.agentSockets, { timeoutMs: bootTimeoutMs, signal: given.signal })
  opened.catch(() => {}) // Aborted after the emulator ended.
  return await Promise.race([opened, early])
}

async function takeSnapshot(place: Place, name: SnapshotName): Promise<void> {
  await saveSnapshot(place, name)
  await noteSnapshot(place, { name, isThere: true })
}

/** Gives the lab what no snapshot holds: the time of day, the NVMe disk, the checkout as it is now. */
async function connect(session: AgentSession, place: Place): Promise<void> {
  const now = (Date.now() / 1000).toFixed(3)
  // Files of the checkout that are in memory already may have changed outside.
  await session.shell(`date -s @${now} >/dev/null; for i in 1 2; do echo 3 >/proc/sys/vm/drop_caches; done`)
  const isPlugged = (await session.shell('ls /sys/class/nvme')) !== ''
  if (!isPlugged) {
    await plugNvme(place)
    await session.shell('for i in $(seq 300); do [ -b /dev/nvme0n1 ] && exit; sleep 0.1; done; exit 1')
  }
  await session.shell(`/usr/lib/kvasir-lab/attach-checkout '${place.checkout}'`)
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1)
}
