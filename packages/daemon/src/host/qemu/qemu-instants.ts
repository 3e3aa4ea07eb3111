/**
 * The disks of one running QEMU as they were at one instant: a backup job copies each to a scratch, of which clusters that the guest is about
 * to overwrite come first, and the scratch is sent to whoever reads (QEMU 7.2, docs/interop/live-block-operations.rst). What is known to have
 * changed is copied alone.
 *
 * All of it begins in one transaction while the guest stands, and the guest goes on when each job has begun to copy: only then does a job
 * have the bitmap that it goes by (QEMU 7.2, block/backup.c: backup_init_bcs_bitmap takes it anew when the job runs).
 *
 * Nothing is read through a node above the disk, such as `snapshot-access`, which would do without a copy: QEMU 7.2.22 aborts when a node is
 * made on top of one that an I/O thread works on (`qemu_mutex_unlock_impl: Operation not permitted`). Names follow from the scratch's id.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type ChangedPiece, KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { changedBitmap, type DiskBitmap } from '../../model/storage/checkpoint-state.ts'
import type { EmulatorInstants, InstantName, KeptDisk } from '../../ports/emulator-instants.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { dismissJob, finalizedStatus, jobStatus, noSpaceOr } from './block-jobs.ts'
import { isWhole, keepsBitmaps } from './carry-bitmaps.ts'
import { nodeUnder, rootNode } from './disk-node.ts'
import { layerNames } from './layer-nodes.ts'
import { endPush, pushPieces } from './push-job.ts'
import { forgetCopy, openCopy } from './qemu-mirrors.ts'
import type { EmulatorPaths } from './runtime-directory.ts'

const pollMs = 20
const beginTimeoutMs = 10_000
/** A scratch that hangs has requests that cannot be taken back. */
const endTimeoutMs = 30_000

export interface QemuInstantsParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly secrets: SecretValues
  /** Its UID. */
  readonly user: number
  /** Where sockets are made, of root alone. */
  readonly paths: Pick<EmulatorPaths, 'directory'>
}

export class QemuInstants implements EmulatorInstants {
  readonly #parts: QemuInstantsParts

  constructor(parts: QemuInstantsParts) {
    this.#parts = parts
  }

  async open(disks: readonly KeptDisk[]): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      for (const disk of disks) await openCopy(monitor, disk, this.#parts)
    })
  }

  async take(disks: readonly KeptDisk[], { begins }: { readonly begins: string | undefined }): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      const kept: (KeptDisk & { readonly top: string })[] = []
      for (const disk of disks) kept.push({ ...disk, top: await requireTop(monitor, disk.disk) })
      const tops = kept.map(({ top }) => top)
      await monitor.executeUntyped('transaction', {
        actions: [
          ...kept.flatMap((disk) => sinceActions(disk)),
          ...kept.map((disk) => keepAction(disk)),
          ...(begins === undefined ? [] : await bitmapActions(monitor, tops, begins)),
        ],
      })
      for (const disk of kept) await untilItCopies(monitor, disk)
    })
  }

  async copied({ disk, id }: InstantName): Promise<number> {
    const names = namesOf({ id })
    return await this.#parts.ask(async (monitor) => {
      const job = await finalizedStatus(monitor, names.job)
      if (job === undefined) return 1
      if (job.status !== 'concluded') {
        const share = job['total-progress'] === 0 ? 0 : job['current-progress'] / job['total-progress']
        return Math.min(share, 0.99)
      }
      if (job.error !== undefined)
        throw noSpaceOr(
          `The disk with the scratch of ${disk} is full, so it is kept no longer.`,
          `The emulator ended the copying of disk ${disk}: ${job.error}.`,
          job.error,
        )
      await carrySince(monitor, { disk, id })
      await dismissJob(monitor, names.job)
      return 1
    })
  }

  async *read(
    name: InstantName,
    options: { readonly sizeBytes: number; readonly isIncrement: boolean; readonly signal: AbortSignal },
  ): AsyncGenerator<ChangedPiece> {
    const monitor = await this.#parts.ask(async (one) => one)
    const names = namesOf(name)
    const push = {
      ...names,
      target: names.push,
      job: names.pushJob,
      source: layerNames(name.id).format,
      bitmap: options.isIncrement ? changedBitmap : undefined,
      sizeBytes: options.sizeBytes,
      directory: this.#parts.paths.directory,
    }
    yield* pushPieces(monitor, push, options.signal)
  }

  async end(name: InstantName): Promise<void> {
    await this.#parts.ask((monitor) => endKeeping(monitor, name))
  }

  async bitmaps(disks: readonly string[], prefix: string): Promise<readonly DiskBitmap[]> {
    return await this.#parts.ask(async (monitor) => {
      const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
      const found: DiskBitmap[] = []
      for (const disk of disks) {
        const top = await topNode(monitor, disk)
        const node = nodes.find((one) => one['node-name'] === top)
        for (const bitmap of node?.['dirty-bitmaps'] ?? []) {
          if (node === undefined || !bitmap.name?.startsWith(prefix)) continue
          found.push({
            disk,
            name: bitmap.name,
            isWhole: isWhole(node, bitmap),
            changedBytes: bitmap.count,
          })
        }
      }
      return found
    })
  }

  async beginBitmaps(name: string, disks: readonly string[]): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      const tops = await Promise.all(disks.map((disk) => requireTop(monitor, disk)))
      await monitor.executeUntyped('transaction', { actions: await bitmapActions(monitor, tops, name) })
    })
  }

  async removeBitmaps(name: string, disks: readonly string[]): Promise<void> {
    const there = await this.bitmaps(disks, name)
    await this.#parts.ask(async (monitor) => {
      for (const { disk } of there) {
        const node = await topNode(monitor, disk)
        if (node !== undefined) await monitor.execute('block-dirty-bitmap-remove', { node, name })
      }
    })
  }
}

function namesOf({ id }: Pick<InstantName, 'id'>) {
  const short = id.replaceAll('-', '').slice(0, 20)
  return {
    job: `keep-${short}`,
    filter: `keep-${short}`,
    since: `since-${short}`,
    push: `push-${short}`,
    pushJob: `push-${short}`,
  }
}

function keepAction({ top, since, ...disk }: KeptDisk & { readonly top: string }) {
  const { job, filter, since: bitmap } = namesOf(disk)
  const data = {
    'job-id': job,
    device: top,
    target: layerNames(disk.id).format,
    ...(since === undefined ? { sync: 'full' } : { sync: 'bitmap', bitmap, 'bitmap-mode': 'never' }),
    'filter-node-name': filter,
    'auto-finalize': false,
    'auto-dismiss': false,
  }
  return { type: 'blockdev-backup', data }
}

/** What had changed at the instant: a bitmap of it that does not go on. */
function sinceActions({ top: node, since, ...disk }: KeptDisk & { readonly top: string }) {
  if (since === undefined) return []
  const name = namesOf(disk).since
  return [
    { type: 'block-dirty-bitmap-add', data: { node, name, disabled: true } },
    { type: 'block-dirty-bitmap-merge', data: { node, target: name, bitmaps: [since] } },
  ]
}

/** A bitmap on each node: written down by a format that has room for it, else in memory until it is put away. */
async function bitmapActions(monitor: QmpClient, tops: readonly string[], name: string) {
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  return tops.map((node) => {
    const persistent = keepsBitmaps(nodes.find((one) => one['node-name'] === node))
    return { type: 'block-dirty-bitmap-add', data: { node, name, persistent } }
  })
}

/** Waits until a job has copied something, or had nothing to copy. */
async function untilItCopies(monitor: QmpClient, disk: InstantName): Promise<void> {
  const { job: id } = namesOf(disk)
  const deadline = performance.now() + beginTimeoutMs
  for (;;) {
    const job = await jobStatus(monitor, id)
    if (job && (job['current-progress'] > 0 || ['pending', 'concluded'].includes(job.status))) return
    if (job === undefined || performance.now() > deadline)
      throw new KvasirError('emulator-failed', `The emulator did not begin to copy disk ${disk.disk}.`)
    await pause(1)
  }
}

/**
 * The scratch takes over the bitmap of what had changed: a job wants it on the very node that it reads. In a qcow2 one it stays when the
 * emulator has let go of that, for who serves it.
 */
async function carrySince(monitor: QmpClient, { disk, id }: InstantName): Promise<void> {
  const name = namesOf({ id }).since
  const top = await topNode(monitor, disk)
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  const find = (node: string | undefined) => nodes.find((one) => one['node-name'] === node)
  const has = (node: string | undefined, bitmap: string) =>
    find(node)?.['dirty-bitmaps']?.some((one) => one.name === bitmap) ?? false
  if (top === undefined || !has(top, name)) return
  const node = layerNames(id).format
  const persistent = find(node)?.drv === 'qcow2'
  const target = changedBitmap
  if (!has(node, target))
    await monitor.execute('block-dirty-bitmap-add', { node, name: target, disabled: true, persistent })
  await monitor.execute('block-dirty-bitmap-merge', { node, target, bitmaps: [{ node: top, name }] })
  await monitor.execute('block-dirty-bitmap-remove', { node: top, name })
}

async function endKeeping(monitor: QmpClient, name: InstantName): Promise<void> {
  const names = namesOf(name)
  await endPush(monitor, { job: names.pushJob, target: names.push })
  const deadline = performance.now() + endTimeoutMs
  for (let job = await jobStatus(monitor, names.job); job; job = await jobStatus(monitor, names.job)) {
    if (job.status === 'concluded') await dismissJob(monitor, names.job)
    else await monitor.execute('job-cancel', { id: names.job }).catch(() => undefined) // It has ended meanwhile.
    if (performance.now() > deadline)
      throw new KvasirError(
        'emulator-failed',
        `The emulator has not let go of disk ${name.disk} in ${endTimeoutMs / 1000} s: its scratch does not answer.`,
      )
    await pause(pollMs)
  }
  const top = await topNode(monitor, name.disk)
  if (top !== undefined)
    await monitor
      .execute('block-dirty-bitmap-remove', { node: top, name: names.since })
      .catch(() => undefined) // It is removed as soon as the scratch has it.
  await forgetCopy(monitor, name.id)
}

async function requireTop(monitor: QmpClient, disk: string): Promise<string> {
  const top = await topNode(monitor, disk)
  if (top !== undefined) return top
  throw new KvasirError('emulator-failed', `The emulator has no disk ${disk}, so nothing was done to it.`)
}

/** The topmost layer of a disk: what its device is on, or what lies under the filter that keeps it. */
async function topNode(monitor: QmpClient, disk: string): Promise<string | undefined> {
  const root = await rootNode(monitor, disk)
  return root?.startsWith('keep-') ? await nodeUnder(monitor, root) : root
}
