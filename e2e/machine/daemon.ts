/**
 * A real daemon as a process: started, asked, killed.
 *
 * What it writes goes to a file, so that nothing is lost at `kill9` and its last words are there afterwards.
 *
 * Not here: which VMs it has (world.ts), what it leaves on the host (leftovers.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { close, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endpoints } from '@kvasir/contract'
import { type Client, createClient } from '@kvasir/sdk'
import { eventually } from './eventually.ts'
import { patient } from './patience.ts'
import { environmentOf, type Place } from './place.ts'

const closeFile = promisify(close)

const daemonFolder = join(import.meta.dirname, '../../packages/daemon')
/** As `kvasir daemon` chooses: the bundle where there is one, which sees to it that it is not older than its sources. */
const programs = [join(daemonFolder, '.cache/start.cjs'), join(daemonFolder, 'src/main.ts')] as const

/** How long a daemon may take until it serves. */
const serveMs = 60_000
/** How long a daemon may take to end when asked. */
const stopMs = 15_000
const shownLogCharacters = 4_000

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Variables of the environment besides those of the place, e.g. `KVASIR_FAILPOINT`; undefined removes one. */
export type DaemonEnvironment = Readonly<Record<string, string | undefined>>

/** A daemon that serves. */
export interface Daemon {
  readonly pid: number
  readonly client: Client
  /** Settles when the process has ended, however. */
  readonly exited: Promise<Exit>
  readonly isAlive: () => boolean
  /** Ends it at whatever instruction it is. */
  kill9(): Promise<void>
  /** Asks it to end, as systemd does. The VMs run on. */
  stop(): Promise<Exit>
  signal(name: NodeJS.Signals): void
}

/** Starts a daemon and waits until it serves. Throws with the end of its log when it ends before that. */
export async function startDaemon(place: Place, environment: DaemonEnvironment = {}): Promise<Daemon> {
  const { child, exited } = await spawnDaemon(place, environment)
  const client = createClient({ socketPath: place.socketPath })
  const isAlive = () => child.exitCode === null && child.signalCode === null
  await eventually(
    async () => {
      if (!isAlive()) return 'ended'
      return (await client.call(endpoints.getStatus, { timeoutMs: patient(serveMs) })).pid === child.pid
        ? 'serves'
        : undefined
    },
    { withinMs: serveMs, everyMs: 20, what: 'the daemon serves' },
  ).catch(async (error: unknown) => {
    child.kill('SIGKILL') // Or it would outlive the test, and the test would wait for it.
    await exited
    client.close()
    throw error
  })
  if (!isAlive()) throw new Error(`The daemon ended before it served. Its log ends:\n${readDaemonLog(place)}`)
  return {
    pid: child.pid ?? 0,
    client,
    exited,
    isAlive,
    signal: (name) => child.kill(name),
    async kill9() {
      child.kill('SIGKILL')
      await exited
      client.close()
    },
    async stop() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), patient(stopMs))
      const exit = await exited
      clearTimeout(timer)
      client.close()
      return exit
    },
  }
}

/** Runs a daemon that is expected to refuse, and gives how it ended and what it said. It is killed if it serves instead. */
export async function runRefusedDaemon(
  place: Place,
  environment: DaemonEnvironment = {},
): Promise<Exit & { readonly said: string }> {
  const before = readDaemonLog(place, Number.MAX_SAFE_INTEGER).length
  const { child, exited } = await spawnDaemon(place, environment)
  const timer = setTimeout(() => child.kill('SIGKILL'), patient(stopMs))
  const exit = await exited
  clearTimeout(timer)
  return { ...exit, said: readDaemonLog(place, Number.MAX_SAFE_INTEGER).slice(before) }
}

/** The end of what the daemons of a place said. */
export function readDaemonLog(place: Place, characters: number = shownLogCharacters): string {
  try {
    return readFileSync(place.daemonLog, 'utf8').slice(-characters)
  } catch {
    return ''
  }
}

async function spawnDaemon(
  place: Place,
  environment: DaemonEnvironment,
): Promise<{ readonly child: ChildProcess; readonly exited: Promise<Exit> }> {
  const log = openSync(place.daemonLog, 'a', 0o600)
  const program = process.env['KVASIR_E2E_DAEMON'] ?? programs.find((file) => existsSync(file)) ?? ''
  const enter = place.network === undefined ? [] : ['nsenter', `--net=${place.network}`]
  const argv = [...enter, process.execPath, '--disable-warning=ExperimentalWarning', program] as const
  const child = spawn(argv[0] ?? process.execPath, argv.slice(1), {
    stdio: ['ignore', log, log],
    env: withoutUndefined({ ...cleanEnvironment(), ...environmentOf(place), ...environment }),
  })
  await closeFile(log)
  const killed = () => child.kill('SIGKILL')
  process.once('exit', killed)
  const exited = once(child, 'exit').then(([code, signal]): Exit => {
    process.removeListener('exit', killed)
    return { code, signal }
  })
  return { child, exited }
}

/** The test runner's own environment without what would configure a daemon or confuse a child of the runner. */
function cleanEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^(KVASIR_|NODE_TEST|NODE_OPTIONS)/.test(key)),
  )
}

function withoutUndefined(record: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
