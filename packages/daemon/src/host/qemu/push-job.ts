/**
 * What a block node of a running QEMU holds, as a stream: a backup job that writes to us as if we were a disk. QEMU connects to nothing:
 * it is handed one end of a connection that was made here, and speaks NBD on it as a client. It is never the server, since QEMU 7.2.22
 * aborts when a client of its own server goes while the disk is on an I/O thread.
 *
 * One worker, so that it goes from the beginning to the end (QEMU 7.2, block/block-copy.c).
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type ChangedPiece, KvasirError } from '@kvasir/contract'
import { sendDescriptor } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import { takeWrites } from '../nbd/nbd-sink.ts'
import { dismissJob, finalizedStatus, jobStatus } from './block-jobs.ts'

const pollMs = 50
const connectMs = 5_000
/** A disk that hangs has requests that cannot be taken back. */
const endTimeoutMs = 30_000

export interface PushJob {
  /** Names of the job and of its target. */
  readonly job: string
  readonly target: string
  /** What is read. */
  readonly source: string
  /** A bitmap of `source`: only what it has is told. */
  readonly bitmap: string | undefined
  readonly sizeBytes: number
  /** Of root alone, for a socket. */
  readonly directory: string
}

/** The pieces of a node in order. Left early, the job is ended. */
export async function* pushPieces(
  monitor: QmpClient,
  push: PushJob,
  signal: AbortSignal,
): AsyncGenerator<ChangedPiece> {
  const { ours, theirs } = await socketPair(push.directory)
  const abort = () => ours.destroy()
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    await handOver(monitor, push, theirs)
    const writes = takeWrites(ours, push.sizeBytes)
    const first = writes.next() // QEMU is greeted while it opens the node, which holds up all else in it.
    first.catch(() => {}) // Who takes it below is told.
    await openTarget(monitor, push)
    const ended = beginAndFollow(monitor, push, signal)
    ended.catch(() => {}) // Who waits for it below is told.
    let offset = 0
    for (let next = await first; !next.done; next = await writes.next()) {
      const { offset: at, lengthBytes, bytes } = next.value
      if (at < offset || (at > offset && push.bitmap === undefined))
        throw new KvasirError(
          'emulator-failed',
          `The emulator sent a part at ${at} of a disk after ${offset}.`,
        )
      if (at > offset) yield { kind: 'same', lengthBytes: at - offset }
      yield bytes ? { kind: 'data', bytes } : { kind: 'zeros', lengthBytes }
      offset = at + lengthBytes
    }
    await ended
    if (offset < push.sizeBytes) yield { kind: 'same', lengthBytes: push.sizeBytes - offset }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
    ours.destroy()
    await endPush(monitor, push)
  }
}

/** Ends what a push left, whoever began it. */
export async function endPush(
  monitor: QmpClient,
  { job, target }: Pick<PushJob, 'job' | 'target'>,
): Promise<void> {
  const deadline = performance.now() + endTimeoutMs
  for (let found = await jobStatus(monitor, job); found; found = await jobStatus(monitor, job)) {
    if (found.status === 'concluded') await dismissJob(monitor, job)
    else await monitor.execute('job-cancel', { id: job }).catch(() => undefined) // It has ended meanwhile.
    if (performance.now() > deadline)
      throw new KvasirError(
        'emulator-failed',
        `The emulator has not ended job ${job} in ${endTimeoutMs / 1000} s: what it reads does not answer.`,
      )
    await pause(pollMs)
  }
  await monitor.execute('blockdev-del', { 'node-name': target }).catch(() => undefined) // It was never made.
}

/** Nothing is sent before: this end would take it. */
async function handOver(monitor: QmpClient, { target }: PushJob, theirs: Socket): Promise<void> {
  try {
    await monitor.executeBeside('getfd', {
      args: { fdname: target },
      send: (socket, text) => sendDescriptor(socket, { text, descriptor: descriptorOf(theirs) }),
    })
  } finally {
    theirs.destroy()
  }
}

async function openTarget(monitor: QmpClient, { target }: PushJob): Promise<void> {
  await monitor.execute('blockdev-add', {
    driver: 'nbd',
    'node-name': target,
    server: { type: 'fd', str: target },
  })
}

/** Settles when all was sent, and QEMU has said good-bye. */
async function beginAndFollow(monitor: QmpClient, push: PushJob, signal: AbortSignal): Promise<void> {
  const { job, target, source, bitmap } = push
  // Untyped: `x-perf` is in no stable part of the introspection.
  await monitor.executeUntyped('blockdev-backup', {
    'job-id': job,
    device: source,
    target,
    ...(bitmap === undefined ? { sync: 'full' } : { sync: 'bitmap', bitmap, 'bitmap-mode': 'never' }),
    'auto-finalize': false,
    'auto-dismiss': false,
    'x-perf': { 'max-workers': 1 },
  })
  for (;;) {
    signal.throwIfAborted()
    const found = await finalizedStatus(monitor, job)
    if (found === undefined || found.status === 'concluded') {
      if (found?.error === undefined && found !== undefined) break
      throw new KvasirError(
        'emulator-failed',
        `The emulator ended the sending of a disk: ${found?.error ?? 'the job is gone'}.`,
      )
    }
    await pause(pollMs)
  }
  await dismissJob(monitor, job)
  await monitor.execute('blockdev-del', { 'node-name': target })
}

/** Two ends of one connection; the first one reads nothing before it is asked to. */
async function socketPair(directory: string): Promise<{ readonly ours: Socket; readonly theirs: Socket }> {
  const path = join(directory, `p-${randomUUID().slice(0, 8)}`)
  const server = createServer({ pauseOnConnect: true })
  try {
    server.listen(path)
    const signal = AbortSignal.timeout(connectMs)
    await once(server, 'listening', { signal })
    const theirs = connect(path)
    theirs.on('error', () => {}) // It is handed over.
    const [ours] = (await once(server, 'connection', { signal })) as [Socket] // What this event carries.
    ours.on('error', () => {}) // Who reads it is told.
    if (theirs.connecting) await once(theirs, 'connect', { signal })
    return { ours, theirs }
  } finally {
    server.close()
    await rm(path, { force: true })
  }
}

function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number' || fd < 0) throw new Error('The socket has no descriptor.')
  return fd
}
