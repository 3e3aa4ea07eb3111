/**
 * The daemon of `npm start`: the one that already serves the socket, or one of this checkout as a child in a session of its own, so
 * that the terminal's Ctrl-C reaches it only when it is meant.
 *
 * Its words go to a file, since the terminal belongs to the guest's console. Not here: what the daemon does (packages/daemon).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type DaemonStatus, endpoints, KvasirError } from '@kvasir/contract'
import { type Client, createClient } from '@kvasir/sdk'
import { root } from '../steps.ts'

/** Where the daemon listens, and clients look, when nothing else is said. */
export const defaultSocketPath = '/run/kvasir/kvasir.sock'

const answerTimeoutMs = 5_000
const startTimeoutMs = 60_000
const pollMs = 50
const stopTimeoutMs = 30_000
const maxLogBytes = 16 * 1024 * 1024
const shownLogLines = 12

/** A refusal with a sentence for the person at the terminal. */
export class StartRefused extends Error {}

/** A daemon that answers. */
export interface ServingDaemon {
  readonly client: Client
  readonly status: DaemonStatus
  readonly socketPath: string
  /** Whether this process started it; then this process also ends it. */
  readonly isOurs: boolean
  /** Settles when a daemon of ours has ended; never for another's. */
  readonly ended: Promise<void>
  /** Asks a daemon of ours to end and waits for it; VMs live on. */
  stop(): Promise<void>
  /** Lets a daemon of ours outlive this process. */
  release(): void
}

/** Finds the daemon that serves the socket, or starts one and waits until it answers. Throws StartRefused. */
export async function findOrStartDaemon(say: (line: string) => void): Promise<ServingDaemon> {
  const runtimeDir = process.env['KVASIR_RUNTIME_DIR']
  const socketPath = runtimeDir === undefined ? defaultSocketPath : join(runtimeDir, 'kvasir.sock')
  const client = createClient({ socketPath })
  const status = await askStatus(client)
  if (status !== undefined) {
    say(`A daemon already serves ${socketPath} (pid ${status.pid}).`)
    const never = Promise.withResolvers<void>().promise
    return {
      client,
      status,
      socketPath,
      isOurs: false,
      ended: never,
      stop: async () => {},
      release: () => {},
    }
  }
  if (process.getuid?.() !== 0) {
    throw new StartRefused(
      'The daemon builds a cage of its own around every VM, which only root can do, so it is not started. Run npm start as root.',
    )
  }
  return startDaemon(client, { socketPath, say })
}

async function startDaemon(
  client: Client,
  { socketPath, say }: { socketPath: string; say: (line: string) => void },
): Promise<ServingDaemon> {
  const log = openLog()
  const argv = ['--disable-warning=ExperimentalWarning', join(root, 'packages/daemon/.cache/start.cjs')]
  const child = spawn(process.execPath, argv, { cwd: '/', detached: true, stdio: ['ignore', log.fd, log.fd] })
  closeSync(log.fd)
  const ended = endOf(child)
  const status = await Promise.race([waitForStatus(client), ended.then(() => undefined)])
  if (status === undefined) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null
    if (!hasEnded) await stop(child, ended)
    const what = hasEnded
      ? 'ended before it served'
      : `did not serve ${socketPath} within ${startTimeoutMs / 1000} s`
    throw new StartRefused(`The daemon ${what}. It said:\n${lastWords(log.path, log.offset)}`)
  }
  say(`The daemon serves ${socketPath} (pid ${status.pid}); its log is ${log.path}.`)
  return {
    client,
    status,
    socketPath,
    isOurs: true,
    ended,
    stop: () => stop(child, ended),
    release: () => child.unref(),
  }
}

function endOf(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  child.on('exit', () => resolve())
  child.on('error', () => resolve())
  return promise
}

/** The daemon's status, or nothing when no daemon answers. */
async function askStatus(client: Client): Promise<DaemonStatus | undefined> {
  try {
    return await client.call(endpoints.getStatus, { timeoutMs: answerTimeoutMs })
  } catch (error) {
    if (error instanceof KvasirError && ['unreachable', 'shutting-down'].includes(error.code))
      return undefined
    throw error
  }
}

async function waitForStatus(client: Client): Promise<DaemonStatus | undefined> {
  const deadline = performance.now() + startTimeoutMs
  while (performance.now() < deadline) {
    const status = await askStatus(client)
    if (status !== undefined) return status
    await sleep(pollMs, undefined, { ref: false })
  }
  return undefined
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  child.kill('SIGTERM')
  const timedOut = await Promise.race([ended.then(() => false), sleep(stopTimeoutMs, true, { ref: false })])
  if (!timedOut) return
  child.kill('SIGKILL') // Safe: a daemon may be killed at any instruction.
  await ended
}

/** Opens the daemon's log at its end; one that has grown large is moved aside first. */
function openLog(): { readonly fd: number; readonly path: string; readonly offset: number } {
  const folder = process.env['KVASIR_LOG_DIR'] ?? '/var/log/kvasir'
  mkdirSync(folder, { recursive: true, mode: 0o750 })
  const path = join(folder, 'kvasird.log')
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > maxLogBytes) renameSync(path, `${path}.1`)
  const fd = openSync(path, 'a', 0o640)
  return { fd, path, offset: fstatSync(fd).size }
}

function lastWords(path: string, offset: number): string {
  const lines = readFileSync(path).subarray(offset).toString('utf8').trimEnd().split('\n')
  return lines.slice(-shownLogLines).map(sentenceOf).join('\n') || '(nothing)'
}

/** What a line of the log says to a person: the message of a JSON line, or the line. */
export function sentenceOf(line: string): string {
  try {
    const parsed: unknown = JSON.parse(line)
    if (typeof parsed !== 'object' || parsed === null) return line
    const error: unknown = Reflect.get(parsed, 'err')
    const cause: unknown =
      typeof error === 'object' && error !== null ? Reflect.get(error, 'message') : undefined
    const message: unknown = Reflect.get(parsed, 'msg')
    return [message, cause].filter((part) => typeof part === 'string').join(': ') || line
  } catch {
    return line // Not a line of the log, but of Node itself.
  }
}
