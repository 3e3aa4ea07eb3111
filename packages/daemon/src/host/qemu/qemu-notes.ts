/**
 * Bitmaps of raw disks between two QEMUs: in a qcow2 file of the disk's size that has nothing in it but them.
 *
 * QEMU merges bitmaps of one node into those of another of the same size and the same grains, and writes those of qcow2 down when it closes
 * the file (QEMU 7.2, block/monitor/bitmap-qmp-cmds.c, block/qcow2-bitmap.c). The file is made by that QEMU itself, in a descriptor that it
 * was handed; a header that a guest could have had a hand in is read by the QEMU of the same VM alone.
 */
import { KvasirError } from '@kvasir/contract'
import type { QmpClient, QueryNamedBlockNodesItem } from '@kvasir/qmp'
import { bitmapPrefix } from '../../model/storage/checkpoint-state.ts'
import type { DiskNotes, EmulatorNotes } from '../../ports/emulator-notes.ts'
import { followJob } from './block-jobs.ts'
import { keepsBitmaps, wholeBitmaps } from './carry-bitmaps.ts'
import { nodeUnder, rootNode } from './disk-node.ts'
import { passFile, takeFileBack } from './pass-file.ts'
import type { QemuBlocksParts } from './qemu-blocks.ts'

const notesNode = 'notes'
const fileNode = 'notes-file'
const makeTimeoutMs = 5_000

type Parts = Pick<QemuBlocksParts, 'ask' | 'user'>

export class QemuNotes implements EmulatorNotes {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async putAway({ disk, path }: DiskNotes): Promise<number> {
    return await this.#parts.ask(async (monitor) => {
      const top = await topOf(monitor, disk)
      const bitmaps = wholeBitmaps(top)
      if (top === undefined || keepsBitmaps(top) || bitmaps.length === 0) return 0
      const from = nameOf(top)
      await using opened = await openFile(monitor, { path, access: 'read-write' }, this.#parts)
      await monitor.execute('blockdev-create', {
        'job-id': notesNode,
        options: { driver: 'qcow2', file: fileNode, size: top.image['virtual-size'] },
      })
      const signal = AbortSignal.timeout(makeTimeoutMs)
      await followJob(monitor, notesNode, { onProgress: () => {}, signal })
      await opened.openNotes({ readOnly: false })
      await monitor.execute('transaction', {
        actions: bitmaps.flatMap(({ name, granularity }) =>
          copied({ node: from, name }, { node: notesNode, granularity, persistent: true, disabled: true }),
        ),
      })
      return bitmaps.length
    })
  }

  async takeBack({ disk, path, names }: DiskNotes & { readonly names: readonly string[] }): Promise<number> {
    return await this.#parts.ask(async (monitor) => {
      const top = await topOf(monitor, disk)
      if (top === undefined || keepsBitmaps(top)) return 0
      const to = nameOf(top)
      await using opened = await openFile(monitor, { path, access: 'read' }, this.#parts)
      await opened.openNotes({ readOnly: true })
      const notes = await find(monitor, notesNode)
      requireSameSize(disk, top, notes)
      const kept = (notes?.['dirty-bitmaps'] ?? []).flatMap(({ name, granularity, inconsistent }) =>
        name !== undefined && names.includes(name) && inconsistent !== true ? [{ name, granularity }] : [],
      )
      if (kept.length === 0) return 0
      await monitor.execute('transaction', {
        actions: kept.flatMap(({ name, granularity }) =>
          copied({ node: notesNode, name }, { node: to, granularity, persistent: false, disabled: false }),
        ),
      })
      return kept.length
    })
  }

  async letGo(): Promise<void> {
    await this.#parts.ask((monitor) => takeFileBack(monitor, fileNode))
  }
}

/** A bitmap of one node made anew on another. */
function copied(
  from: { readonly node: string; readonly name: string },
  { node, ...as }: { node: string; granularity: number; persistent: boolean; disabled: boolean },
) {
  const { name } = from
  return [
    { type: 'block-dirty-bitmap-add' as const, data: { node, name, ...as } },
    { type: 'block-dirty-bitmap-merge' as const, data: { node, target: name, bitmaps: [from] } },
  ]
}

/** The topmost layer of a disk: of one that is being kept as it was, what lies under the job's filter; of one on its way elsewhere, none. */
async function topOf(monitor: QmpClient, disk: string): Promise<QueryNamedBlockNodesItem | undefined> {
  const root = await rootNode(monitor, disk)
  if (root === undefined) return undefined
  const top = root.startsWith('keep-') ? await nodeUnder(monitor, root) : root
  const node = await find(monitor, top)
  return ['raw', 'luks', 'qcow2'].includes(node?.drv ?? '') ? node : undefined
}

async function find(
  monitor: QmpClient,
  name: string | undefined,
): Promise<QueryNamedBlockNodesItem | undefined> {
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  return nodes.find((node) => node['node-name'] === name)
}

function nameOf(node: QueryNamedBlockNodesItem): string {
  const name = node['node-name']
  if (name !== undefined) return name
  throw new KvasirError('emulator-failed', 'The emulator has a disk on a node without a name.')
}

function requireSameSize(
  disk: string,
  { image: now }: QueryNamedBlockNodesItem,
  notes: QueryNamedBlockNodesItem | undefined,
): void {
  const noted = notes?.image['virtual-size']
  if (noted === now['virtual-size']) return
  throw new KvasirError(
    'emulator-failed',
    `Disk ${disk} has ${now['virtual-size']} bytes, and what was noted of it is about ${noted}.`,
  )
}

/** Hands over the file of notes as a node; whoever lets go of it closes all of it, and only then is it written. */
async function openFile(
  monitor: QmpClient,
  { path, access }: { readonly path: string; readonly access: 'read' | 'read-write' },
  { user }: Pick<Parts, 'user'>,
) {
  const forget = async () => {
    for (const node of [notesNode, fileNode])
      await monitor.execute('blockdev-del', { 'node-name': node }).catch(() => undefined) // Never made.
    await takeFileBack(monitor, fileNode)
  }
  await forget() // What a daemon left that died in the middle.
  await using undo = new AsyncDisposableStack()
  undo.defer(forget)
  const file = { kind: 'file' as const, path, access, direct: false }
  const filename = await passFile(monitor, { file, label: fileNode, user })
  const readOnly = access === 'read'
  await monitor.execute('blockdev-add', {
    driver: 'file',
    'node-name': fileNode,
    filename,
    'read-only': readOnly,
  })
  const held = undo.move()
  return {
    openNotes: (options: { readonly readOnly: boolean }) =>
      monitor.execute('blockdev-add', {
        driver: 'qcow2',
        'node-name': notesNode,
        file: fileNode,
        backing: null,
        'read-only': options.readOnly,
      }),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

/** Removes the bitmaps of checkpoints from a node. */
export async function dropBitmaps(monitor: QmpClient, node: string): Promise<void> {
  const bitmaps = (await find(monitor, node))?.['dirty-bitmaps'] ?? []
  for (const { name } of bitmaps)
    if (name?.startsWith(bitmapPrefix)) await monitor.execute('block-dirty-bitmap-remove', { node, name })
}
