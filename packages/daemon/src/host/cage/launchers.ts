/**
 * Processes that wait for the words that make them a caged program (launcher-script.ts).
 *
 * One is held ready, so that a start does not pay for a fork of the daemon, for perl and for a network namespace: 5 of 10 ms. It has been
 * told nothing and holds nothing of the host. It ends when the daemon does, however that ends, because its socket then does. The same
 * goes for the keeper of logs that comes with it: a second fork of the daemon, 7 ms and more in which it does nothing else and QEMU
 * shares the CPUs with it, would fall into every start. Where this process can start programs without a fork (ffi/light-spawn.ts of
 * packages/linux), it does, and then also where none is held.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { closeDescriptors, LightSpawner } from '@kvasir/linux'
import { keeperProgram } from './capped-log.ts'
import {
  ADMISSION_DESCRIPTOR,
  FIRST_DESCRIPTOR,
  KEEPER_DESCRIPTOR,
  launcherArgv,
  STATUS_DESCRIPTOR,
} from './launcher-script.ts'

/** How a caged program ended; both undefined when it could never be started. */
export interface CageExit {
  readonly code: number | undefined
  readonly signal: string | undefined
}

/** What this process may wait for. */
export type Referenced = Pick<ChildProcess, 'ref' | 'unref'>

/** A process that waits for its words, or is about to. */
export interface Launcher {
  readonly child: Referenced
  readonly pid: number
  readonly status: Socket
  readonly admission: Socket
  /** To the keeper of the program's logs, which lives in the session of the launcher; none where no logs are kept. */
  readonly keeper: Socket | undefined
  readonly exited: Promise<CageExit>
}

/** A launcher, unless the system had no room for a process. */
export interface StartedLauncher {
  readonly child: ChildProcess
  readonly launcher: Launcher | undefined
  /** Resolves with the reason when there is no launcher, else never. */
  readonly failed: Promise<Error>
}

/** Starts a launcher for one program, which inherits the descriptors from `FIRST_DESCRIPTOR` on. */
export function startLauncher(options: {
  /** What the program gets as stdout and stderr, unless it has a log. */
  readonly output: 'ignore' | 'pipe'
  readonly descriptors: readonly number[]
  /** Whether a keeper of logs is wanted. */
  readonly keepsLogs: boolean
}): StartedLauncher {
  const [perl, ...args] = launcherArgv(options.keepsLogs ? keeperProgram : undefined)
  const child = spawn(perl, args, {
    detached: true,
    cwd: '/',
    env: {},
    stdio: [...standardDescriptors(options), ...options.descriptors],
  })
  const exited = exitOf(child)
  const failed = new Promise<Error>((resolve) => child.once('error', resolve))
  const {
    [STATUS_DESCRIPTOR]: status,
    [ADMISSION_DESCRIPTOR]: admission,
    [KEEPER_DESCRIPTOR]: keeperSocket,
  }: readonly unknown[] = child.stdio
  if (child.pid === undefined || !(status instanceof Socket) || !(admission instanceof Socket))
    return { child, launcher: undefined, failed }
  const keeper = keeperSocket instanceof Socket ? keeperSocket : undefined
  ignoreEnds(admission, keeper)
  return { child, launcher: { child, pid: child.pid, status, admission, keeper, exited }, failed }
}

/** One with a keeper of logs, started without a fork; undefined where that does not go. */
function startLightly(spawner: LightSpawner): Launcher | undefined {
  const pairs = [STATUS_DESCRIPTOR, ADMISSION_DESCRIPTOR, KEEPER_DESCRIPTOR].flatMap((number) => {
    const pair = spawner.socketPair()
    return pair ? [{ number, ours: pair[0], theirs: pair[1] }] : []
  })
  const started =
    pairs.length === 3 &&
    spawner.spawn(launcherArgv(keeperProgram), new Map(pairs.map(({ number, theirs }) => [number, theirs])))
  closeDescriptors(...pairs.map(({ theirs }) => theirs))
  const [status, admission, keeper] = started ? pairs.map(({ ours }) => new Socket({ fd: ours })) : []
  if (!started || !status || !admission || !keeper) {
    closeDescriptors(...pairs.map(({ ours }) => ours))
    return undefined
  }
  ignoreEnds(admission, keeper)
  return { child: nobody, ...started, status, admission, keeper }
}

/** Whose end is heard without being waited for. */
const nobody: Referenced = { ref() {}, unref() {} }

function ignoreEnds(admission: Socket, keeper: Socket | undefined): void {
  admission.on('error', () => {}) // The launcher has ended; the status says at which step.
  keeper?.on('error', () => {}) // `close` follows, and is what its user looks at.
}

/** Kills a launcher and what it has started; what has left its session is reached through its cgroup. */
export function killSession(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

/** At most one launcher that is ready. */
export class HeldLaunchers implements Disposable {
  readonly #spawner: LightSpawner | undefined
  #held: Launcher | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  /** `spawner` starts them where it can, without a fork of this process. */
  constructor(spawner = LightSpawner.open()) {
    this.#spawner = spawner
  }

  /** The process that is held, if one is. */
  get heldPid(): number | undefined {
    return this.#held?.pid
  }

  /** The one that is held, or one that takes no fork; the caller's from now on. */
  take(): Launcher | undefined {
    const launcher = this.#held
    this.#held = undefined
    if (launcher) setReferenced(launcher, true)
    if (launcher || this.#isClosed) return launcher
    return this.#spawner && startLightly(this.#spawner)
  }

  /** Sees to it that one is held some time from now: a fork of the daemon takes milliseconds in which it does nothing else. */
  holdSoon(): void {
    if (this.#isClosed || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#hold()
    }, HOLD_DELAY_MS).unref()
  }

  /** Holds none from now on: a host that does not let one process take descriptors of another never will. */
  giveUp(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    const launcher = this.take()
    if (launcher) killSession(launcher.pid)
  }

  [Symbol.dispose](): void {
    this.giveUp()
  }

  #hold(): void {
    if (this.#isClosed || this.#held !== undefined) return
    const launcher = (this.#spawner && startLightly(this.#spawner)) ?? startWithFork()
    if (launcher === undefined) return
    this.#held = launcher
    setReferenced(launcher, false)
    void launcher.exited.then(() => {
      if (this.#held === launcher) this.#held = undefined
    })
  }
}

function startWithFork(): Launcher | undefined {
  const { child, launcher } = startLauncher({ output: 'ignore', descriptors: [], keepsLogs: true })
  child.on('error', () => {}) // Without room for a process none is held; a start will say so.
  return launcher
}

/** Longer than a start takes, so that it is not in its way. */
const HOLD_DELAY_MS = 100

/** Whether this process stays for the launcher's sake. */
function setReferenced({ child, status, admission, keeper }: Launcher, isReferenced: boolean): void {
  for (const one of [child, status, admission, keeper]) {
    if (isReferenced) one?.ref()
    else one?.unref()
  }
}

/** Descriptors 0 to 9 of a launcher. `ignore` above descriptor 2 leaves the descriptor closed. */
function standardDescriptors({
  output,
  keepsLogs,
}: {
  readonly output: 'ignore' | 'pipe'
  readonly keepsLogs: boolean
}): ('ignore' | 'pipe')[] {
  const stdio: ('ignore' | 'pipe')[] = Array.from({ length: FIRST_DESCRIPTOR }, () => 'ignore')
  stdio[1] = output
  stdio[2] = output
  stdio[STATUS_DESCRIPTOR] = 'pipe'
  stdio[ADMISSION_DESCRIPTOR] = 'pipe'
  if (keepsLogs) stdio[KEEPER_DESCRIPTOR] = 'pipe'
  return stdio
}

function exitOf(child: ChildProcess): Promise<CageExit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }))
    child.once('error', () => resolve({ code: undefined, signal: undefined }))
  })
}
