/**
 * Copies of the disks of one running QEMU that follow what the guest writes: blockdev-mirror.
 *
 * The job is not let finalize by itself. Asked to complete, it ends its copying with the disk drained and the copy flushed, and stays
 * `pending` so: requests of the guest wait, and either side may be chosen (QEMU 7.2, block/mirror.c: mirror_run leaves with the drain
 * held, mirror_exit_common ends it). The copy is found by names that follow from its volume's id.
 *
 * It is copied in the background: a target that hangs holds up no request of the guest.
 */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { volumeNode } from '../../model/qemu/volume-node.ts'
import type { LayerOptions } from '../../ports/emulator-blocks.ts'
import type {
  EmulatorMirrors,
  FollowOptions,
  Mirror,
  MirrorName,
  MirrorState,
} from '../../ports/emulator-mirrors.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { jobStatus } from './block-jobs.ts'
import { carriedActions } from './carry-bitmaps.ts'
import { closePollMs, dismiss, followUntil, isEnded } from './copy-jobs.ts'
import { nodeUnder, rootNode } from './disk-node.ts'
import type { EmulatorConnector } from './emulator-connector.ts'
import { giveReach, handReachOver, type ReachingEmulator, takeReachBack } from './emulator-reach.ts'
import { keyTimeoutMs, withSecret } from './hand-secrets.ts'
import { formatNode, layerKey, layerNames } from './layer-nodes.ts'
import { removeLooseNodes } from './loose-nodes.ts'
import { forgetBelow, nodeBelow, openBelow } from './open-below.ts'
import { passFile, takeFileBack } from './pass-file.ts'
import { dropBitmaps } from './qemu-notes.ts'
import type { EmulatorPaths } from './runtime-directory.ts'

const pollMs = 100
/** What was copied is flushed under a disk that waits. */
const finishTimeoutMs = 60_000
/** A target that hangs has requests that cannot be taken back. */
const abandonTimeoutMs = 30_000

export interface QemuMirrorsParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly secrets: SecretValues
  /** The UID of that QEMU. */
  readonly user: number
  readonly paths: EmulatorPaths
  readonly connector: EmulatorConnector
}

export class QemuMirrors implements EmulatorMirrors {
  readonly #parts: QemuMirrorsParts

  constructor(parts: QemuMirrorsParts) {
    this.#parts = parts
  }

  async state(mirror: MirrorName): Promise<MirrorState> {
    return await this.#parts.ask(async (monitor) => {
      const job = await jobStatus(monitor, jobId(mirror))
      if (job?.status === 'pending') return 'held'
      if (job !== undefined && !isEnded(job.status)) return 'copying'
      return (await rootNode(monitor, mirror.disk)) === layerNames(mirror.id).format ? 'over' : 'absent'
    })
  }

  async begin(mirror: Mirror): Promise<void> {
    const { disk, id, source, below = [], sizeBytes, options, bytesPerSecond } = mirror
    await this.#parts.ask(async (monitor) => {
      const top = await rootNode(monitor, disk)
      if (top === undefined)
        throw new KvasirError('emulator-failed', `The emulator has no disk ${disk}, so it is not copied.`)
      await using undo = new AsyncDisposableStack()
      undo.defer(() => this.#forget(monitor, id))
      await letReach(this.#parts, { disk, id, source, below })
      await openCopy(monitor, { id, source, below, sizeBytes, options }, this.#parts)
      await monitor.execute('blockdev-mirror', {
        'job-id': jobId({ id }),
        device: top,
        target: layerNames(id).format,
        sync: below.length > 0 || mirror.holdsBelow ? 'top' : 'full',
        speed: bytesPerSecond,
        'on-source-error': 'report',
        'on-target-error': 'report',
        'auto-finalize': false,
        'auto-dismiss': false,
      })
      undo.move()
    })
  }

  async setSpeed(mirror: MirrorName, bytesPerSecond: number): Promise<void> {
    await this.#parts.ask((monitor) =>
      monitor.execute('block-job-set-speed', { device: jobId(mirror), speed: bytesPerSecond }),
    )
  }

  async follow(mirror: MirrorName, options: FollowOptions): Promise<void> {
    await this.#parts.ask((monitor) =>
      followUntil(
        monitor,
        { disk: mirror.disk, job: jobId(mirror) },
        { ...options, until: 'ready', everyMs: pollMs },
      ),
    )
  }

  async hold(mirror: MirrorName, options: FollowOptions): Promise<void> {
    await this.#parts.ask(async (monitor) => {
      await monitor.execute('job-complete', { id: jobId(mirror) })
      await followUntil(
        monitor,
        { disk: mirror.disk, job: jobId(mirror) },
        { ...options, until: 'pending', everyMs: closePollMs },
      )
    })
  }

  async finish(mirror: MirrorName, options: LayerOptions): Promise<void> {
    const id = jobId(mirror)
    const names = layerNames(mirror.id)
    const wasCopying = await this.#parts.ask(async (monitor) => {
      const job = await jobStatus(monitor, id)
      if (job?.status === 'pending') {
        await carryBitmaps(monitor, { disk: mirror.disk, to: names.format })
        await monitor.execute('job-finalize', { id }, { timeoutMs: finishTimeoutMs })
      }
      if (job !== undefined) await dismiss(monitor, id, finishTimeoutMs)
      if ((await rootNode(monitor, mirror.disk)) !== names.format)
        throw new KvasirError(
          'emulator-failed',
          `The emulator did not go over to the copy of disk ${mirror.disk}, so the disk is where it was.`,
        )
      await openAsDisk(monitor, { id: mirror.id, options })
      await removeLooseNodes(monitor, mirror.disk)
      return job !== undefined
    })
    await handReachOver(this.#parts.paths, { from: names.file, to: mirror.disk, isFirst: wasCopying })
  }

  async abandon(mirror: MirrorName): Promise<void> {
    const id = jobId(mirror)
    await this.#parts.ask(async (monitor) => {
      const job = await jobStatus(monitor, id)
      if (job !== undefined && !isEnded(job.status))
        await monitor.execute('job-cancel', { id }).catch(() => undefined) // It has ended meanwhile.
      if (job !== undefined) await dismiss(monitor, id, abandonTimeoutMs)
      await this.#forget(monitor, mirror.id)
    })
  }

  async #forget(monitor: QmpClient, id: string): Promise<void> {
    await forgetCopy(monitor, id)
    await takeReachBack(this.#parts.paths, layerNames(id).file)
  }
}

/** Lets an emulator reach what a copy lies on, by a name of its own until the disk has gone over. */
async function letReach(
  parts: ReachingEmulator,
  { disk, id, source, below = [] }: Pick<Mirror, 'disk' | 'id' | 'source' | 'below'>,
): Promise<void> {
  const servers = [source, ...below].flatMap((one) => (one.kind === 'protocol' ? one.reach : []))
  const otherwise = `disk ${disk} goes there while the VM is off`
  await giveReach(parts, { disk: layerNames(id).file, servers, otherwise })
}

function jobId({ id }: Pick<MirrorName, 'id'>): string {
  return `mirror-${id.slice(0, 24)}`
}

/** The disk waits, so what its bitmaps have is so for the copy too. While it goes over, it is on a filter of the job. */
async function carryBitmaps(
  monitor: QmpClient,
  { disk, to }: { readonly disk: string; readonly to: string },
): Promise<void> {
  const root = await rootNode(monitor, disk)
  if (root === undefined || root === to) return
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  const isFilter = nodes.find((one) => one['node-name'] === root)?.drv === 'mirror_top'
  const from = isFilter ? await nodeUnder(monitor, root) : root
  if (from === undefined) return
  const actions = await carriedActions(monitor, [{ from, to }])
  if (actions.length > 0) await monitor.execute('transaction', { actions })
}

/**
 * Opens the volume of a copy as two nodes, named after its id. Zeroes are given back to it while it is filled, whatever becomes of the
 * guest's own discards.
 */
export async function openCopy(
  monitor: QmpClient,
  copy: Pick<Mirror, 'id' | 'source' | 'below' | 'sizeBytes' | 'options'>,
  { secrets, user }: Pick<QemuMirrorsParts, 'secrets' | 'user'>,
): Promise<void> {
  const { id, source, below = [], sizeBytes, options } = copy
  const backing = await openBelow(monitor, { id, below, options }, { user, secrets })
  const names = layerNames(id)
  const cache = { direct: options.direct, 'no-flush': options.noFlush }
  const {
    file,
    secret,
    options: fileOptions,
  } = volumeNode(source, {
    name: names.file,
    readOnly: false,
    direct: options.direct,
    shared: { 'read-only': false, discard: 'unmap', cache },
  })
  const filename =
    file === undefined ? {} : { filename: await passFile(monitor, { file, label: names.file, user }) }
  // What the model planned is what QEMU's introspection names; its types are those of one version of it.
  await withSecret(monitor, secret, {
    values: secrets,
    open: () => monitor.executeUntyped('blockdev-add', { ...fileOptions, ...filename }),
  })
  // A source that cannot tell what holes it has, as RBD without a map of its objects, is read as zeroes.
  const filled: LayerOptions = { ...options, discard: 'unmap', detectZeroes: 'unmap' }
  const node = formatNode(names.format, {
    driver: source.format,
    file: names.file,
    backing,
    sizeBytes,
    readOnly: false,
    options: filled,
  })
  await withSecret(monitor, layerKey(names.format, options), {
    values: secrets,
    open: () => monitor.execute('blockdev-add', node, { timeoutMs: keyTimeoutMs }),
  })
}

/**
 * What was filled becomes as the disk is to be: with the guest's discards and zeroes as its options say, and of a raw volume that is larger than the
 * disk was, all. A mirror copies only between two of the same size (QEMU 7.2, block/mirror.c), so until then its node was cut short.
 */
async function openAsDisk(
  monitor: QmpClient,
  { id, options }: Pick<Mirror, 'id' | 'options'>,
): Promise<void> {
  const names = layerNames(id)
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  const nodeOf = (name: string) => nodes.find((node) => node['node-name'] === name)
  const driver = nodeOf(names.format)?.drv === 'qcow2' ? 'qcow2' : 'raw'
  const sizeOf = (name: string) => nodeOf(name)?.image['virtual-size'] ?? 0
  const isCut = nodeOf(names.format)?.drv === 'raw' && sizeOf(names.format) < sizeOf(names.file)
  if (options.discard !== 'ignore' && options.detectZeroes === 'unmap' && !isCut) return
  const backing = nodeBelow(id, nodes)
  const node = formatNode(names.format, { driver, file: names.file, backing, readOnly: false, options })
  await monitor.execute('blockdev-reopen', { options: [node] })
  if (!isCut) return
  const size = sizeOf(names.file)
  await dropBitmaps(monitor, names.format) // What lies beyond is not known to be zeroes, and they would not tell of it.
  await monitor.execute('block_resize', { 'node-name': names.format, size }, { timeoutMs: finishTimeoutMs })
}

/** Closes the volume of a copy. */
export async function forgetCopy(monitor: QmpClient, id: string): Promise<void> {
  const names = layerNames(id)
  // None of them may have been made.
  await monitor.execute('blockdev-del', { 'node-name': names.format }).catch(() => undefined)
  await monitor.execute('blockdev-del', { 'node-name': names.file }).catch(() => undefined)
  await takeFileBack(monitor, names.file)
  await forgetBelow(monitor, id)
}
