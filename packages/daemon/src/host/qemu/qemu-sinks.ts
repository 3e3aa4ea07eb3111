/**
 * Layers of one running QEMU that sink into the raw volume under them: block-commit.
 *
 * The volume was opened for reading when it was under others: its node is put on another one of its own storage that can write
 * (qemu-blocks.ts says why a reopened one would not do). Of a disk's top the job is a mirror, which is not let finalize by itself and
 * waits `pending`, as in qemu-mirrors.ts. Of a layer further down it ends by itself; the volume is flushed then.
 */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { volumeNode } from '../../model/qemu/volume-node.ts'
import { groundName, headerName } from '../../model/storage/volume-source.ts'
import type { FollowOptions } from '../../ports/emulator-mirrors.ts'
import type { EmulatorSinks, Sink, SinkState } from '../../ports/emulator-sinks.ts'
import { type LayerNodes, readBlockGraph } from './block-graph.ts'
import { dismissJob, finalizedStatus, jobStatus } from './block-jobs.ts'
import { carriedActions } from './carry-bitmaps.ts'
import { closePollMs, dismiss, followUntil, isEnded } from './copy-jobs.ts'
import { withSecret } from './hand-secrets.ts'
import { formatNode, layerNames } from './layer-nodes.ts'
import { passFile, takeFileBack } from './pass-file.ts'
import type { QemuBlocksParts } from './qemu-blocks.ts'

const pollMs = 100
const endTimeoutMs = 60_000

/** What a layer and the volume under it are in a QEMU. */
interface Found {
  /** The node that the device sits on. */
  readonly root: string | undefined
  /** Undefined where the disk does not have the layer. */
  readonly layer: LayerNodes | undefined
  readonly into: LayerNodes | undefined
  readonly isTop: boolean
}

export class QemuSinks implements EmulatorSinks {
  readonly #parts: QemuBlocksParts

  constructor(parts: QemuBlocksParts) {
    this.#parts = parts
  }

  async state(sink: Sink): Promise<SinkState> {
    return await this.#parts.ask(async (monitor) => {
      const job = await jobStatus(monitor, jobId(sink))
      if (job?.status === 'pending') return (await this.#find(monitor, sink)).isTop ? 'held' : 'sinking'
      if (job !== undefined && !isEnded(job.status)) return 'sinking'
      const { layer, into } = await this.#find(monitor, sink)
      return into !== undefined && layer === undefined ? 'over' : 'absent'
    })
  }

  async begin(sink: Sink): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      await dismissEnded(monitor, sink)
      const { root, layer, into, isTop } = await this.#find(monitor, sink)
      if (root === undefined || layer === undefined || into === undefined)
        throw new KvasirError(
          'emulator-failed',
          `The emulator does not have what was to be merged under disk ${sink.disk}, so it was not.`,
        )
      if (into.readOnly) await openToWrite(monitor, { into, sink }, this.#parts)
      await monitor.execute('block-commit', {
        'job-id': jobId(sink),
        device: root,
        'base-node': into.node,
        ...(isTop ? {} : { 'top-node': layer.node, 'backing-file': headerName(sink.into.source) }),
        'auto-finalize': false,
        'auto-dismiss': false,
      })
    })
  }

  async follow(sink: Sink, options: FollowOptions): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      const { layer, into, isTop } = await this.#find(monitor, sink)
      const job = { disk: sink.disk, job: jobId(sink) }
      if (layer !== undefined && isTop) {
        await followUntil(monitor, job, { ...options, until: 'ready', everyMs: pollMs })
        return
      }
      await followToEnd(monitor, job, options)
      if (into === undefined) return
      const said = await monitor.execute(
        'human-monitor-command',
        { 'command-line': `qemu-io ${into.node} flush` },
        { timeoutMs: endTimeoutMs },
      )
      if (said.trim() !== '')
        throw new KvasirError('emulator-failed', `The emulator could not flush a volume: ${said.trim()}`)
      await this.#close(monitor, sink)
    })
  }

  async hold(sink: Sink, options: FollowOptions): Promise<void> {
    const job = { disk: sink.disk, job: jobId(sink) }
    await this.#parts.ask(async (monitor) => {
      await monitor.execute('job-complete', { id: job.job })
      await followUntil(monitor, job, { ...options, until: 'pending', everyMs: closePollMs })
    })
  }

  async finish(sink: Sink): Promise<void> {
    const id = jobId(sink)
    await this.#parts.ask(async (monitor) => {
      const job = await jobStatus(monitor, id)
      if (job?.status === 'pending') {
        await this.#carryBitmaps(monitor, sink)
        await monitor.execute('job-finalize', { id }, { timeoutMs: endTimeoutMs })
      }
      if (job !== undefined) await dismiss(monitor, id, endTimeoutMs)
      const { layer } = await this.#find(monitor, sink)
      if (layer !== undefined)
        throw new KvasirError(
          'emulator-failed',
          `The emulator did not go over to what lies under the layer of disk ${sink.disk}, so the disk is where it was.`,
        )
      await this.#close(monitor, sink)
    })
  }

  async abandon(sink: Sink): Promise<void> {
    const id = jobId(sink)
    await this.#parts.ask(async (monitor) => {
      const job = await jobStatus(monitor, id)
      if (job === undefined) return
      if (!isEnded(job.status)) await monitor.execute('job-cancel', { id }).catch(() => undefined) // It has ended meanwhile.
      await dismiss(monitor, id, endTimeoutMs)
    })
  }

  /** The disk waits, and the volume has all that the layer has. */
  async #carryBitmaps(monitor: QmpClient, sink: Sink): Promise<void> {
    const { layer, into } = await this.#find(monitor, sink)
    if (layer === undefined || into === undefined) return
    const actions = await carriedActions(monitor, [{ from: layer.node, to: into.node }])
    if (actions.length > 0) await monitor.execute('transaction', { actions })
  }

  /** Closes the layer, which no disk has any more. */
  async #close(monitor: QmpClient, { disk, layer }: Sink): Promise<void> {
    const { loose } = await readBlockGraph(monitor, this.#parts.pid, { disks: [disk], files: [layer] })
    const found = loose.find(({ path }) => path === layer)
    if (!found) return
    await monitor.execute('blockdev-del', { 'node-name': found.node })
    await monitor.execute('blockdev-del', { 'node-name': found.fileNode })
    await takeFileBack(monitor, found.fileNode)
  }

  async #find(monitor: QmpClient, sink: Sink): Promise<Found> {
    const name = groundName(sink.into.source)
    const asked = { disks: [sink.disk], files: [sink.layer, name] }
    const [chain] = (await readBlockGraph(monitor, this.#parts.pid, asked)).chains
    const layers = chain?.layers ?? []
    const at = layers.findIndex(({ path }) => path === sink.layer)
    return {
      root: chain?.node,
      layer: layers[at],
      into: layers.find(({ path }) => path === name),
      isTop: at === 0,
    }
  }
}

/** The job of a former daemon, of which nobody heard how it ended. */
async function dismissEnded(monitor: QmpClient, sink: Sink): Promise<void> {
  const job = await jobStatus(monitor, jobId(sink))
  if (job !== undefined && isEnded(job.status)) await dismissJob(monitor, job.id)
}

async function followToEnd(
  monitor: QmpClient,
  job: { readonly disk: string; readonly job: string },
  options: FollowOptions,
): Promise<void> {
  for (;;) {
    const now = await finalizedStatus(monitor, job.job)
    if (now?.status === 'concluded' && now.error === undefined) {
      await dismissJob(monitor, job.job)
      return
    }
    if (now === undefined || now.status === 'concluded')
      throw new KvasirError(
        'emulator-failed',
        `The emulator ended the merging under disk ${job.disk}: ${now?.error ?? 'the job is gone'}.`,
      )
    options.signal.throwIfAborted()
    await options.onProgress({
      copiedBytes: now['current-progress'],
      totalBytes: now['total-progress'],
      isSame: false,
    })
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function jobId({ id }: Pick<Sink, 'id'>): string {
  return `sink-${id.slice(0, 24)}`
}

/** Puts a volume's node on another one of its storage, which can write. */
async function openToWrite(
  monitor: QmpClient,
  { into, sink }: { readonly into: LayerNodes; readonly sink: Sink },
  { secrets, user }: Pick<QemuBlocksParts, 'secrets' | 'user'>,
): Promise<void> {
  const { id, source, options } = sink.into
  const [even, odd] = [layerNames(id, 0), layerNames(id, 1)]
  const names = into.fileNode === odd.file ? even : odd
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => {
    await monitor.execute('blockdev-del', { 'node-name': names.file }).catch(() => undefined) // Never made.
    await takeFileBack(monitor, names.file)
  })
  const cache = { direct: options.direct, 'no-flush': options.noFlush }
  const node = volumeNode(source, {
    name: names.file,
    readOnly: false,
    direct: options.direct,
    aio: options.aio,
    shared: { 'read-only': false, discard: options.discard, cache },
  })
  const filename =
    node.file === undefined
      ? {}
      : { filename: await passFile(monitor, { file: node.file, label: names.file, user }) }
  await withSecret(monitor, node.secret, {
    values: secrets,
    open: () => monitor.executeUntyped('blockdev-add', { ...node.options, ...filename }),
  })
  const reopened = formatNode(into.node, {
    driver: 'raw',
    file: names.file,
    backing: null,
    readOnly: false,
    options: { ...options, detectZeroes: undefined },
  })
  await monitor.execute('blockdev-reopen', { options: [reopened] })
  undo.move()
  await monitor.execute('blockdev-del', { 'node-name': into.fileNode })
  await takeFileBack(monitor, into.fileNode)
}
