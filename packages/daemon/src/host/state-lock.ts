/**
 * One daemon for one state directory.
 *
 * The lock is a flock(2) on `daemon.lock`. Node has no flock, but the lock belongs to the open file, not to the process that asked:
 * util-linux's `flock` takes it on our descriptor, which it inherits, and leaves it with us. The kernel drops it when the daemon ends,
 * however it ends; children do not inherit the descriptor, so an emulator that outlives the daemon does not keep the lock.
 *
 * The file holds the pid of the holder, for the sentence only.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'

/** A state directory that is ours. */
export interface StateLock {
  release(): void
}

const FLOCK_TIMEOUT_MS = 5_000

/** The exit code asked of flock(1) for a lock that another holds; it has none of its own with this number. */
const HELD = 75

/** Locks a state directory, making it when missing. Throws `daemon-running` with the pid of the holder, or `host-failed`. */
export function lockStateDirectory(stateDir: string): StateLock {
  const path = join(stateDir, 'daemon.lock')
  const descriptor = openLock(stateDir, path)
  try {
    takeLock(descriptor, path, stateDir)
    ftruncateSync(descriptor, 0)
    writeSync(descriptor, `${process.pid}\n`, 0)
  } catch (error) {
    closeSync(descriptor)
    throw error instanceof KvasirError ? error : unusable(path, error)
  }
  return { release: () => closeSync(descriptor) }
}

function openLock(stateDir: string, path: string): number {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  } catch (cause) {
    throw unusable(path, cause)
  }
}

function takeLock(descriptor: number, path: string, stateDir: string): void {
  const result = spawnSync(
    'flock',
    ['--exclusive', '--nonblock', '--conflict-exit-code', String(HELD), '3'],
    {
      stdio: ['ignore', 'ignore', 'ignore', descriptor],
      env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
      timeout: FLOCK_TIMEOUT_MS,
    },
  )
  if (result.status === 0) return
  if (result.status !== HELD)
    throw unusable(path, result.error ?? new Error(`flock ended with ${result.status}`))
  const pid = Number(readFileSync(path, 'utf8').trim()) || undefined
  const holder = pid === undefined ? 'Another daemon' : `Another daemon, process ${pid},`
  throw new KvasirError(
    'daemon-running',
    `${holder} uses the state directory ${stateDir}, so this one does not start. Stop that one first, or give this one a directory of its own.`,
    { details: { stateDir, ...(pid === undefined ? {} : { pid }) } },
  )
}

function unusable(path: string, cause: unknown): KvasirError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new KvasirError(
    'host-failed',
    `The lock ${path} cannot be taken (${reason}), so the daemon does not start.`,
    {
      details: { path },
      cause,
    },
  )
}
