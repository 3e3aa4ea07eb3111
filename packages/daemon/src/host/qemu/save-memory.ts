/**
 * Memory to a file: QEMU's outgoing migration into a socket, drained into the file by `dd` in a process of its own.
 *
 * QEMU cannot open a file in its cage, nor connect to a socket there when its connections are made for it, and the daemon's event loop
 * should not carry gigabytes. So its end of the socket is handed to it. Whatever goes wrong, a full disk above all, ends the migration,
 * and the VM can go on.
 */
import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH, connectPair, type SocketEnd, sendDescriptor } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import type { SaveOptions } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'

/** What QEMU calls its end. */
const endName = 'save'
const pollMs = 100
const stallTimeoutMs = 30_000
/** More than any disk takes, so that QEMU does not throttle: its default is 128 MiB/s. */
const bandwidthBytesPerSecond = 2 ** 40

export interface SaveTarget {
  readonly path: string
  /** A directory in which only root may write, and where nothing is left. */
  readonly directory: string
  readonly failpoint: Failpoints
}

/** Saves the memory of a VM whose vCPUs are stopped. Rejects with `not-enough-space`, `cancelled` or `emulator-failed`. */
export async function saveMemory(
  monitor: QmpClient,
  target: SaveTarget,
  options: SaveOptions,
): Promise<void> {
  options.signal.throwIfAborted()
  await using undo = new AsyncDisposableStack()
  const file = await open(target.path, 'w', 0o600)
  undo.defer(() => file.close())
  await target.failpoint('emulator.save.after-file')
  const [own, theirs] = await connectPair(target.directory)
  undo.defer(() => theirs.release())
  const drained = drain(own, file.fd)
  undo.defer(() => drained.stop())

  await monitor.execute('migrate-set-parameters', { 'max-bandwidth': bandwidthBytesPerSecond })
  await monitor.executeBeside('getfd', {
    args: { fdname: endName },
    send: (socket, text) => sendDescriptor(socket, { text, descriptor: theirs.fd }),
  })
  theirs.release() // It ends with the migration then, of which nothing is waited for any more.
  await monitor.execute('migrate', { uri: `fd:${endName}` })
  try {
    await target.failpoint('emulator.save.after-migrate')
    await followMigration(monitor, options, drained)
  } catch (error) {
    await monitor.execute('migrate_cancel').catch(() => undefined)
    await waitUntilOver(monitor)
    throw error
  }
  await drained.finished
}

/** Ends a migration that a former daemon began, or was about to begin. */
export async function abandonSave(monitor: QmpClient): Promise<void> {
  await monitor.execute('migrate_cancel')
  await waitUntilOver(monitor)
  await monitor.execute('closefd', { fdname: endName }).catch(() => undefined) // Most often it has none.
}

interface Drain {
  /** Rejects when the file cannot be written. */
  readonly finished: Promise<void>
  readonly failure: () => KvasirError | undefined
  readonly stop: () => void
}

function drain(from: SocketEnd, fd: number): Drain {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  promise.catch(() => {}) // Looked at through `failure` while the migration runs.
  let failure: KvasirError | undefined
  const child = spawn('dd', ['bs=1M', 'iflag=fullblock', 'conv=fsync', 'status=none'], {
    stdio: [from.fd, fd, 'pipe'],
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
  })
  from.release() // dd has its own copy.
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString('utf8')
  })
  child.once('error', (error) => end(error.message))
  child.once('close', (code) => (code === 0 ? resolve() : end(said)))
  function end(said: string): void {
    const noSpace = said.includes('No space left')
    failure = noSpace
      ? new KvasirError('not-enough-space', 'The disk is full, so the memory of the VM was not saved.')
      : new KvasirError(
          'host-failed',
          `Writing the memory of the VM ended early (${said.trim().slice(0, 300)}), so it was not saved.`,
        )
    reject(failure)
  }
  return { finished: promise, failure: () => failure, stop: () => void child.kill('SIGKILL') }
}

async function followMigration(monitor: QmpClient, options: SaveOptions, drained: Drain): Promise<void> {
  let lastBytes = -1
  let lastMovedAt = performance.now()
  for (;;) {
    options.signal.throwIfAborted()
    const failure = drained.failure()
    if (failure) throw failure
    const info = await monitor.execute('query-migrate')
    const transferred = info.ram?.transferred ?? 0
    options.onProgress({
      transferredBytes: transferred,
      totalBytes: info.ram ? transferred + info.ram.remaining : 0,
    })
    if (info.status === 'completed') return
    if (info.status === 'failed' || info.status === 'cancelled') {
      await new Promise((resolve) => setTimeout(resolve, pollMs)) // dd may still be saying why.
      throw (
        drained.failure() ??
        new KvasirError(
          'emulator-failed',
          `The memory of the VM was not saved: ${info['error-desc'] ?? info.status}.`,
        )
      )
    }
    if (transferred !== lastBytes) {
      lastBytes = transferred
      lastMovedAt = performance.now()
    } else if (performance.now() - lastMovedAt > stallTimeoutMs)
      throw new KvasirError(
        'deadline-exceeded',
        'Saving the memory of the VM came to a halt, so it was ended.',
      )
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/** A cancelled migration takes a moment; the VM cannot be resumed before. */
async function waitUntilOver(monitor: QmpClient): Promise<void> {
  const deadline = performance.now() + 10_000
  while (performance.now() < deadline) {
    const info = await monitor.execute('query-migrate').catch(() => undefined)
    if (info?.status !== 'cancelling' && info?.status !== 'active') return
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
