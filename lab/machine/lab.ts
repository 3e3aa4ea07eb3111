/**
 * The lab of a checkout: built when it is not, booted or brought back from a snapshot, reached, ended.
 *
 *     (nothing) ──build──▶ image ──boot──▶ runs ──snapshot──▶ runs, and comes back to this moment
 *                            └──from the snapshot──▲
 *
 * Invariants: whoever has a Lab can run programs in it, and sees the checkout there under its own path, as it is at that moment. One
 * process at a time starts, ends, keeps or resets a lab (places.ts names the locks; the life lock is taken first).
 *
 * Not here: how it is built (image/), the machine (command-line.ts), how it comes up (start-lab.ts), the words of `npm run lab`
 * (../commands.ts).
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { ProcessIdentity } from '@kvasir/linux'
import { provideImage } from '../image/build-image.ts'
import { AgentSession } from './agent-session.ts'
import type { Threads } from './command-line.ts'
import { copyDisks, findSnapshots, noteSnapshot, type SnapshotName } from './disk-state.ts'
import { deleteSnapshot, findEmulator, plugNvme, stopEmulator, unplugNvme } from './emulator.ts'
import { type FileLock, lockFile, tryLockFile } from './file-lock.ts'
import { type Place, placeOf } from './places.ts'
import { startLab, takeSnapshot } from './start-lab.ts'

const answerTimeoutMs = 30_000
const askAgainMs = 500

/** How a lab is opened. */
export interface LabOptions {
  readonly checkout: string
  readonly say: (line: string) => void
  /** Where to begin if it does not run; a snapshot that is not there is no reason to fail. */
  readonly from: SnapshotName
  /** Whether it runs on when this process ends. */
  readonly outlivesUs: boolean
  /** Which of the labs of the checkout: the first unless told. */
  readonly number?: number
  /** How its CPUs are emulated, unless it runs already; by a thread each when nothing is said. */
  readonly threads?: Threads
}

/** A lab that runs and answers, for as long as this process uses it. */
export interface Lab {
  readonly place: Place
  readonly session: AgentSession
  /** Whether it ran already. */
  readonly wasRunning: boolean
  readonly emulator: ProcessIdentity | undefined
  /** Settles when its emulator is gone, with how it ended; nothing tells of one that ran already. */
  readonly ended: Promise<string> | undefined
  /** Uses it no longer, and ends it when it was begun for us alone; waits then until nobody else uses it. */
  readonly leave: () => Promise<void>
}

/**
 * Sees to it that labs are at hand, and gives how many: the one that runs, or so many as were asked for, each with a snapshot of one that
 * has booted.
 */
export async function prepareLabs(options: {
  readonly checkout: string
  readonly say: (line: string) => void
  readonly count: number
}): Promise<number> {
  refuseOtherMachines()
  const place = placeOf(options.checkout)
  const isRunning = (await findEmulator(place)) !== undefined
  if (isRunning) return 1
  const image = await provideImage(place.cache, options.say)
  if ((await findSnapshots(place, image)).length === 0) {
    const lab = await openLab({ ...options, from: 'booted', outlivesUs: false })
    await lab.leave()
  }
  if (options.count === 1) return 1
  await using _life = await lockLife(place, options.say)
  if ((await findEmulator(place)) !== undefined) return 1 // Somebody has started it meanwhile.
  for (let number = 1; number < options.count; number++) {
    const other = placeOf(options.checkout, number)
    await stopEmulator(other) // Of a run that was killed.
    await copyDisks(place, other)
  }
  return options.count
}

/** Opens the lab: the one that runs, or a new one. */
export async function openLab(options: LabOptions): Promise<Lab> {
  refuseOtherMachines()
  const place = placeOf(options.checkout, options.number)
  await using _life = await lockLife(place, options.say)
  const wasRunning = (await findEmulator(place)) !== undefined
  const use = await lockFile(place.useLock, {
    kind: 'shared',
    onWait: () => options.say('The lab is being kept or reset; this process waits for it ...'),
  })
  try {
    const { session, ended } = wasRunning
      ? {
          session: await AgentSession.open(place.agentSockets, { timeoutMs: answerTimeoutMs }),
          ended: undefined,
        }
      : await startLab(place, { threads: 'multi', ...options })
    await connect(session, place)
    const emulator = await findEmulator(place)
    const leave = async () => {
      session.close()
      await use[Symbol.asyncDispose]()
      if (!(wasRunning || options.outlivesUs)) await stopUnused(place, { emulator, say: options.say })
    }
    return { place, session, wasRunning, emulator, ended, leave }
  } catch (error) {
    if (!wasRunning) await stopEmulator(place)
    await use[Symbol.asyncDispose]()
    throw error
  }
}

/** Ends the lab, whoever uses it; gives whether one ran. */
export async function stopLab(checkout: string, say: (line: string) => void): Promise<boolean> {
  const place = placeOf(checkout)
  await using _life = await lockLife(place, say)
  const wasRunning = (await findEmulator(place)) !== undefined
  await stopEmulator(place)
  return wasRunning
}

/** Ends the lab at once, without a look at who uses it: for a process that is being ended itself. */
export async function abandonLab({ place, wasRunning, emulator }: Lab): Promise<void> {
  if (!wasRunning && (await isStill(place, emulator))) await stopEmulator(place)
}

/** Keeps the lab that runs as it is: memory, programs, disks. The next one begins here. */
export async function keepLab(checkout: string, say: (line: string) => void): Promise<void> {
  const place = placeOf(checkout)
  await using _life = await lockLife(place, say)
  if ((await findEmulator(place)) === undefined)
    throw new LabRefusal('No lab runs, so there is nothing to keep. Begin with: npm run lab -- start')
  await using use = await tryLockFile(place.testsLock, 'exclusive')
  if (use === undefined) throw new LabRefusal('Tests run in the lab, so it is not kept as it is.')
  using session = await AgentSession.open(place.agentSockets, { timeoutMs: answerTimeoutMs })
  const { code } = await session.run({
    argv: ['/usr/lib/kvasir-lab/detach-checkout'],
    onOutput: (bytes) => say(bytes.toString('utf8').trimEnd()),
  })
  if (code !== 0)
    throw new LabRefusal(
      'Programs in the lab use the checkout, which no snapshot can hold, so it is not kept.',
    )
  await unplugNvme(place)
  await takeSnapshot(place, 'kept')
  await connect(session, place)
}

/** Forgets what was kept; the next lab begins where it had booted. */
export async function forgetKept(checkout: string, say: (line: string) => void): Promise<void> {
  const place = placeOf(checkout)
  await using _life = await lockLife(place, say)
  await noteSnapshot(place, { name: 'kept', isThere: false })
  if ((await findEmulator(place)) !== undefined) await deleteSnapshot(place, 'kept')
}

/** A sentence for the person who asked. */
export class LabRefusal extends Error {}

function lockLife(place: Place, say: (line: string) => void): Promise<FileLock> {
  return lockFile(place.lifeLock, {
    kind: 'exclusive',
    onWait: () => say('Another process starts or ends the lab of this checkout; this one waits for it ...'),
  })
}

/** Ends the lab once nobody uses it. */
async function stopUnused(
  place: Place,
  { emulator, say }: { readonly emulator: ProcessIdentity | undefined; readonly say: (line: string) => void },
): Promise<void> {
  for (let told = false; ; await pause(askAgainMs)) {
    await using _life = await lockLife(place, say)
    if (!(await isStill(place, emulator))) return
    await using alone = await tryLockFile(place.useLock, 'exclusive')
    if (alone !== undefined) return await stopEmulator(place)
    if (!told) say('Others use the lab that was begun here; it ends with the last of them.')
    told = true
  }
}

/** Whether it is this emulator that runs, and not one that somebody started later. */
async function isStill(place: Place, emulator: ProcessIdentity | undefined): Promise<boolean> {
  const now = await findEmulator(place)
  return now !== undefined && now.pid === emulator?.pid && now.startTicks === emulator.startTicks
}

function refuseOtherMachines(): void {
  if (process.arch !== 'x64')
    throw new LabRefusal(`The lab is an x86-64 machine and runs on one only, not ${process.arch}.`)
  if (process.getuid?.() !== 0) throw new LabRefusal('The lab is built and run by root: run this with sudo.')
}

/** Gives the lab what no snapshot holds: the time of day, the NVMe disk, the checkout as it is now. */
async function connect(session: AgentSession, place: Place): Promise<void> {
  const now = (Date.now() / 1000).toFixed(3)
  // Files of the checkout that are in memory already may have changed outside.
  await session.shell(`date -s @${now} >/dev/null; for i in 1 2; do echo 3 >/proc/sys/vm/drop_caches; done`)
  // After a slow boot nobody has loaded the driver yet.
  const isPlugged = (await session.shell('modprobe nvme && ls /sys/class/nvme')) !== ''
  if (!isPlugged) {
    await plugNvme(place)
    await session.shell('for i in $(seq 300); do [ -b /dev/nvme0n1 ] && exit; sleep 0.1; done; exit 1')
  }
  await session.shell(`/usr/lib/kvasir-lab/attach-checkout '${place.checkout}'`)
}
