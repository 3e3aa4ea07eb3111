/**
 * A lock on a file, held by this process and by nobody else that it starts.
 *
 * Node has no flock(2), but the lock belongs to the open file: util-linux's `flock` takes it on our descriptor, which it inherits, and
 * leaves it with us. The kernel drops it when this process ends, however it ends.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'

const waitSeconds = 7_200
const nobodyWaits = 0
/** Asked of flock(1) for a lock that another holds; it has no exit code of its own with this number. */
const held = 75

/** A lock that is ours until it is disposed of. */
export type FileLock = AsyncDisposable

/** Which lock, and what is done when another process holds it. */
export interface LockOptions {
  readonly kind: 'shared' | 'exclusive'
  /** Told before the wait. */
  readonly onWait: () => void
}

/** Takes a lock, waiting for whoever holds it, two hours at most. */
export async function lockFile(path: string, { kind, onWait }: LockOptions): Promise<FileLock> {
  const first = await tryLockFile(path, kind)
  if (first !== undefined) return first
  onWait()
  const lock = await take(path, { kind, seconds: waitSeconds })
  if (lock === undefined) throw new Error(`${path} was locked for two hours, so this process gave up.`)
  return lock
}

/** Takes a lock, or gives nothing when another process holds it. */
export function tryLockFile(path: string, kind: LockOptions['kind']): Promise<FileLock | undefined> {
  return take(path, { kind, seconds: nobodyWaits })
}

async function take(
  path: string,
  { kind, seconds }: { readonly kind: LockOptions['kind']; readonly seconds: number },
): Promise<FileLock | undefined> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const file = await open(path, 'a', 0o600)
  try {
    const code = await flock(file, [`--${kind}`, '--timeout', String(seconds)])
    if (code === 0) return { [Symbol.asyncDispose]: () => file.close() }
    if (code !== held) throw new Error(`flock ended with ${code}, so ${path} is not locked.`)
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}

async function flock(file: FileHandle, options: readonly string[]): Promise<number | null> {
  const argv = ['--pdeathsig', 'KILL', '--', 'flock', ...options, '--conflict-exit-code', String(held), '3']
  const child = spawn('setpriv', argv, { stdio: ['ignore', 'ignore', 'ignore', file.fd] })
  const [code] = await once(child, 'exit')
  return typeof code === 'number' ? code : null
}
