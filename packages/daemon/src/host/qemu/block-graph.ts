/**
 * The block graph of a running QEMU: which files lie under which disk, as QEMU has them open.
 *
 * QEMU knows its files as members of fd sets; which files of the host those are says the kernel, by device and inode of what QEMU's
 * descriptors refer to. So neither names of nodes nor anybody's records are believed. Filters (throttle, copy-on-read of a job) are
 * looked through: they say the file name of what is under them (QEMU 7.2, bdrv_refresh_filename).
 */
import { readlink, stat } from 'node:fs/promises'
import type { QmpClient, QueryNamedBlockNodesItem } from '@kvasir/qmp'
import { deviceId } from '../../model/qemu/ids.ts'
import type { AskedChains } from '../../ports/emulator-blocks.ts'

/** One layer as two nodes: the format, and the file under it. */
export interface LayerNodes {
  readonly node: string
  readonly fileNode: string
  readonly path: string
  readonly readOnly: boolean
  readonly driver: 'qcow2' | 'raw'
}

/** What lies under a disk. */
export interface DiskChain {
  readonly disk: string
  /** The node that the device sits on. */
  readonly node: string | undefined
  /** Its files and devices, top first; none where QEMU speaks to the storage itself. */
  readonly layers: readonly LayerNodes[]
}

/** What QEMU has open. */
export interface BlockGraph {
  readonly chains: readonly DiskChain[]
  /** Layers of no disk's chain. */
  readonly loose: readonly LayerNodes[]
}

/** Asks a QEMU, given by its monitor and pid, for its graph. */
export async function readBlockGraph(
  monitor: QmpClient,
  pid: number,
  asked: AskedChains,
): Promise<BlockGraph> {
  const [nodes, blocks, sets] = await Promise.all([
    monitor.execute('query-named-block-nodes', { flat: true }), // Without it each node tells of all that it lies on.
    monitor.execute('query-block'),
    monitor.execute('query-fdsets'),
  ])
  const paths = await pathsOf(pid, sets, asked.files)
  const bySet = layersBySet(nodes, paths)
  const chains = asked.disks.flatMap((disk) => {
    const device = deviceId('disk', disk)
    const root = blocks.find((block) => block.qdev?.split('/').includes(device))?.inserted
    return root === undefined ? [] : [{ disk, node: root['node-name'], layers: chainUnder(root, bySet) }]
  })
  const used = new Set(
    blocks.flatMap(({ inserted }) => (inserted ? chainUnder(inserted, bySet) : [])).map(({ node }) => node),
  )
  return { chains, loose: [...bySet.values()].filter(({ node }) => !used.has(node)) }
}

function layersBySet(
  nodes: readonly QueryNamedBlockNodesItem[],
  paths: ReadonlyMap<number, string>,
): ReadonlyMap<number, LayerNodes> {
  const files = new Map<number, string>()
  for (const node of nodes) {
    const set = setOf(node.image.filename)
    if (
      (node.drv === 'file' || node.drv === 'host_device') &&
      set !== undefined &&
      node['node-name'] !== undefined
    )
      files.set(set, node['node-name'])
  }
  const layers = new Map<number, LayerNodes>()
  for (const { drv, ro, image, 'node-name': node } of nodes) {
    const driver = drv === 'luks' ? 'raw' : drv // What is raw and encrypted.
    if ((driver !== 'qcow2' && driver !== 'raw') || node === undefined) continue
    const set = setOf(image.filename)
    const fileNode = set === undefined ? undefined : files.get(set)
    if (set === undefined || fileNode === undefined) continue
    layers.set(set, { node, fileNode, path: paths.get(set) ?? '', readOnly: ro, driver })
  }
  return layers
}

function chainUnder(
  root: QueryNamedBlockNodesItem,
  bySet: ReadonlyMap<number, LayerNodes>,
): readonly LayerNodes[] {
  const chain: LayerNodes[] = []
  for (let image: typeof root.image | undefined = root.image; image; image = image['backing-image']) {
    const layer = bySet.get(setOf(image.filename) ?? -1)
    if (layer && chain.at(-1) !== layer) chain.push(layer)
  }
  return chain
}

/** The fd set that a node is on: its file name is `/dev/fdset/N`, or the options of the node as JSON where they say more. */
function setOf(filename: string): number | undefined {
  const plain = filename.startsWith('json:') ? fileIn(filename.slice('json:'.length)) : filename
  const number = /^\/dev\/fdset\/(\d+)$/.exec(plain ?? '')?.[1]
  return number === undefined ? undefined : Number(number)
}

function fileIn(text: string): string | undefined {
  let at: unknown
  try {
    at = JSON.parse(text)
  } catch {
    return undefined
  }
  while (typeof at === 'object' && at !== null) {
    const filename: unknown = Reflect.get(at, 'filename')
    if (typeof filename === 'string') return filename
    at = Reflect.get(at, 'file')
  }
  return undefined
}

/** The file behind each set: one of those given, else what the kernel calls it. */
async function pathsOf(
  pid: number,
  sets: readonly { readonly 'fdset-id': number; readonly fds: readonly { readonly fd: number }[] }[],
  files: readonly string[],
): Promise<ReadonlyMap<number, string>> {
  const identify = (path: string) =>
    stat(path).then(
      ({ dev, ino }) => `${dev}:${ino}`,
      () => undefined,
    )
  const known = new Map<string, string>()
  for (const path of files) {
    const identity = await identify(path)
    if (identity !== undefined) known.set(identity, path)
  }
  const paths = new Map<number, string>()
  for (const set of sets) {
    const [first] = set.fds
    if (first === undefined) continue
    const link = `/proc/${pid}/fd/${first.fd}`
    const path = known.get((await identify(link)) ?? '') ?? (await readlink(link).catch(() => undefined))
    if (path !== undefined) paths.set(set['fdset-id'], path)
  }
  return paths
}
