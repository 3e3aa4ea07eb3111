/**
 * The disks of one running QEMU: overlays laid over them, layers merged, over QMP.
 *
 * Every file is opened here and handed over; QEMU sees no path. A layer under another is open read-only, with a descriptor that cannot
 * write: before it takes in what lies under it, its file's node is exchanged for one that can, and exchanged back afterwards. A reopened
 * node would not do: the old descriptor stays in its fd set, and QEMU's lock on it with it (QEMU 7.2, raw_handle_perm_lock).
 *
 * A merge copies upwards, from the layers that go into the one that stays (block-stream), so that the guest's own file stays the same
 * one. QEMU 7.2 names the new base in the header of that file before the tables of what it copied are on the disk: dying then, it leaves
 * a file whose header promises too much. So a merge has not happened until the file was flushed after it, and what a header says
 * counts for nothing.
 */
import { KvasirError } from '@kvasir/contract'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import type {
  AbsorbOptions,
  Absorption,
  AskedChains,
  EmulatorBlocks,
  NewOverlay,
  OpenChain,
  OpenOverlays,
} from '../../ports/emulator-blocks.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { type DiskChain, type LayerNodes, readBlockGraph } from './block-graph.ts'
import { followJob, jobStatus } from './block-jobs.ts'
import type { EmulatorConnector } from './emulator-connector.ts'
import { forget, forgetFile, giveUp } from './forget-layers.ts'
import { formatNode, layerNames } from './layer-nodes.ts'
import { openOverlays } from './new-overlays.ts'
import { openLayer } from './open-layer.ts'
import { QemuInstants } from './qemu-instants.ts'
import { QemuMirrors } from './qemu-mirrors.ts'
import { QemuNotes } from './qemu-notes.ts'
import { QemuSinks } from './qemu-sinks.ts'
import type { EmulatorPaths } from './runtime-directory.ts'

/** A disk under load takes its time. */
const flushTimeoutMs = 60_000
/** A file whose space is taken beforehand may take a while to grow. */
const resizeTimeoutMs = 60_000

export interface QemuBlocksParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly pid: number
  readonly secrets: SecretValues
  /** Its UID. */
  readonly user: number
  readonly paths: EmulatorPaths
  readonly connector: EmulatorConnector
}

export class QemuBlocks implements EmulatorBlocks {
  readonly mirrors: QemuMirrors
  readonly instants: QemuInstants
  readonly sinks: QemuSinks
  readonly notes: QemuNotes
  readonly #parts: QemuBlocksParts

  constructor(parts: QemuBlocksParts) {
    this.#parts = parts
    this.sinks = new QemuSinks(parts)
    this.mirrors = new QemuMirrors(parts)
    this.instants = new QemuInstants(parts)
    this.notes = new QemuNotes(parts)
  }

  async chains(asked: AskedChains): Promise<readonly OpenChain[]> {
    return (await this.#graph(asked)).chains.map(({ disk, layers }) => ({
      disk,
      layers: layers.map(({ node, path }) => ({ node, path })),
    }))
  }

  async resize(disk: string, capacityBytes: number): Promise<void> {
    const { chains } = await this.#graph({ disks: [disk], files: [] })
    const { layers, node: own } = chains.find((chain) => chain.disk === disk) ?? {
      layers: [],
      node: undefined,
    }
    const node = layers[0]?.node ?? own ?? requireTop(chains, disk).node
    const args = { 'node-name': node, size: capacityBytes }
    await this.#parts.ask((monitor) =>
      monitor
        .execute('block_resize', args, { timeoutMs: resizeTimeoutMs })
        .catch((error: unknown) => Promise.reject(isTooLarge(error) ? tooLarge(disk, error) : error)),
    )
  }

  openOverlays(overlays: readonly NewOverlay[]): Promise<OpenOverlays> {
    return openOverlays(this.#parts, overlays)
  }

  async absorb(absorption: Absorption, options: AbsorbOptions): Promise<void> {
    const job = `absorb-${absorption.id.slice(0, 24)}`
    const before = await this.#chainOf(absorption)
    const index = before.findIndex(({ path }) => path === absorption.path)
    const layer = before[index]
    if (layer === undefined)
      throw new KvasirError(
        'emulator-failed',
        `The emulator does not have ${absorption.path} under disk ${absorption.disk}, so nothing was merged into it.`,
      )
    const base = before.find(({ path }) => path === absorption.base?.path)
    const { user } = this.#parts
    const isDone = before[index + 1]?.path === absorption.base?.path
    await this.#parts.ask(async (monitor) => {
      const known = await jobStatus(monitor, job)
      if (known === undefined && isDone) return
      if (known === undefined) {
        if (index > 0)
          await exchangeFile(monitor, { layer, above: before, absorption, user, access: 'read-write' })
        await monitor.execute('block-stream', {
          'job-id': job,
          device: layer.node,
          ...(base ? { 'base-node': base.node, 'backing-file': absorption.base?.header ?? base.path } : {}),
          'auto-finalize': false,
          'auto-dismiss': false,
        })
      }
      await followJob(monitor, job, options)
      // QMP has no command for it; the monitor for people does, and takes any node.
      const flush = { 'command-line': `qemu-io ${layer.node} flush` }
      const said = await monitor.execute('human-monitor-command', flush, { timeoutMs: flushTimeoutMs })
      if (said.trim() !== '')
        throw new KvasirError(
          'emulator-failed',
          `The emulator could not flush a merged layer: ${said.trim()}`,
        )
    })
    if (index > 0) await this.#makeReadOnly(absorption)
    await this.close(absorption.files)
  }

  async close(files: readonly string[]): Promise<void> {
    const { loose, begun } = await this.#graph({ disks: [], files })
    const going = loose.filter(({ path }) => files.includes(path))
    await this.#parts.ask(async (monitor) => {
      for (const { path, set, fileNode } of begun)
        if (files.includes(path)) await giveUp(monitor, { set, fileNode })
      // A layer lies on others of these: those that nobody lies on go first, in as many turns as it takes.
      let left = going
      for (let turn = 0; turn < going.length && left.length > 0; turn++) {
        const stayed: LayerNodes[] = []
        for (const layer of left) if (!(await forget(monitor, layer))) stayed.push(layer)
        left = stayed
      }
    })
  }

  /** What had to be writable for a merge is no longer. */
  async #makeReadOnly(absorption: Absorption): Promise<void> {
    const chain = await this.#chainOf(absorption)
    const layer = chain.find(({ path }) => path === absorption.path)
    if (!layer || chain[0] === layer) return
    await this.#parts.ask((monitor) =>
      exchangeFile(monitor, { layer, above: chain, absorption, user: this.#parts.user, access: 'read' }),
    )
  }

  async #chainOf({ disk, files }: Absorption): Promise<readonly LayerNodes[]> {
    const { chains } = await this.#graph({ disks: [disk], files })
    return chains[0]?.layers ?? []
  }

  #graph(asked: AskedChains) {
    return this.#parts.ask((monitor) => readBlockGraph(monitor, this.#parts.pid, asked))
  }
}

function requireTop(chains: readonly DiskChain[], disk: string): LayerNodes {
  const top = chains.find((chain) => chain.disk === disk)?.layers[0]
  if (top) return top
  throw new KvasirError(
    'emulator-failed',
    `The emulator has no disk ${disk}, so nothing was done to its disks.`,
  )
}

/** Puts a layer on another node of its own file, opened for reading or for writing too. */
async function exchangeFile(
  monitor: QmpClient,
  work: {
    readonly layer: LayerNodes
    readonly above: readonly LayerNodes[]
    readonly absorption: Absorption
    readonly access: 'read' | 'read-write'
    readonly user: number
  },
): Promise<void> {
  const { layer, above, absorption, access, user } = work
  const { id, options } = absorption
  const [even, odd] = [layerNames(id, 0), layerNames(id, 1)]
  const names = layer.fileNode === odd.file ? even : odd
  const below = above[above.indexOf(layer) + 1]
  await forgetFile(monitor, names.file) // A daemon that died in the middle may have left it.
  await using undo = new AsyncDisposableStack()
  undo.defer(async () => void (await forgetFile(monitor, names.file)))
  await openLayer(monitor, { path: layer.path, names, access, options, user })
  const putOn = async (file: string) => {
    const { node, driver } = layer
    const on = { driver, file, backing: below?.node ?? null, readOnly: true, options }
    await monitor.execute('blockdev-reopen', { options: [formatNode(node, on)] })
  }
  // QEMU 10.0 leaves what it merged into writable, 7.2 does not: its lock on the file would be in the way of the other node.
  if (!layer.readOnly) await putOn(layer.fileNode)
  await putOn(names.file)
  undo.move()
  await forgetFile(monitor, layer.fileNode)
}

/** What the file system (EFBIG) or Ceph (EINVAL) says of a size that it has no room to count. */
function isTooLarge(error: unknown): boolean {
  return error instanceof QmpError && /File too large|Invalid argument/.test(error.message)
}

function tooLarge(disk: string, cause: unknown): KvasirError {
  return new KvasirError(
    'unsupported',
    `Disk ${disk} would be larger than what it lies on lets it be, so it is as it was.`,
    { cause },
  )
}
