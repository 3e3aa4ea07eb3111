/**
 * Memory to a file: QEMU's outgoing migration into a UNIX socket, drained into the file by `dd` in a process of its own.
 *
 * QEMU cannot open a file in its cage, and the daemon's event loop should not carry gigabytes. The socket lies in the sealed share,
 * made by root and given to the VM's UID. Whatever goes wrong, a full disk above all, ends the migration, and the VM can go on.
 */
import { spawn } from 'node:child_process'
import { lchown, open, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import type { SaveOptions } from '../../ports/emulators.ts'
import type { Failpoints } from '../../ports/failpoints.ts'

const socketName = 'save.sock'
const pollMs = 100
const stallTimeoutMs = 30_000
/** More than any disk takes, so that QEMU does not throttle: its default is 128 MiB/s. */
const bandwidthBytesPerSecond = 2 ** 40

export interface SaveTarget {
  readonly path: string
  /** The share directory as the host sees it. */
  readonly share: string
  readonly uid: number
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
  const server = await listen(target)
  undo.defer(() => close(server, join(target.share, socketName)))
  const drained = drain(server, file.fd)
  undo.defer(() => drained.stop())

  await monitor.execute('migrate-set-parameters', { 'max-bandwidth': bandwidthBytesPerSecond })
  await monitor.execute('migrate', { uri: `unix:/run/vm/${socketName}` })
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

/** Ends a migration that a former daemon began, and removes its socket. */
export async function abandonSave(monitor: QmpClient, share: string): Promise<void> {
  await monitor.execute('migrate_cancel')
  await waitUntilOver(monitor)
  await rm(join(share, socketName), { force: true })
}

interface Drain {
  /** Rejects when the file cannot be written. */
  readonly finished: Promise<void>
  readonly failure: () => KvasirError | undefined
  readonly stop: () => void
}

function drain(server: Server, fd: number): Drain {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  promise.catch(() => {}) // Looked at through `failure` while the migration runs.
  let failure: KvasirError | undefined
  let stop = () => {}
  server.once('connection', (socket: Socket) => {
    const child = spawn('dd', ['bs=1M', 'iflag=fullblock', 'conv=fsync', 'status=none'], {
      stdio: [socket, fd, 'pipe'],
      env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
    })
    socket.destroy() // dd has its own copy.
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      if (said.length < 4096) said += chunk.toString('utf8')
    })
    stop = () => child.kill('SIGKILL')
    child.once('error', (error) => end(error.message))
    child.once('close', (code) => (code === 0 ? resolve() : end(said)))
  })
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
  return { finished: promise, failure: () => failure, stop: () => stop() }
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

async function listen(target: SaveTarget): Promise<Server> {
  const path = join(target.share, socketName)
  await rm(path, { force: true })
  const server = createServer({ pauseOnConnect: true })
  server.maxConnections = 1
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve())
  })
  await lchown(path, target.uid, target.uid)
  return server
}

async function close(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()))
  await rm(path, { force: true })
}
