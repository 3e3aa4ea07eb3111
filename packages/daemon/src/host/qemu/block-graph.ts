/**
 * The block graph of a running QEMU: which files lie under which disk, as QEMU has them open.
 *
 * QEMU knows its files as members of fd sets; which files of the host those are says the kernel, by device and inode of what QEMU's
 * descriptors refer to. So neither names of nodes nor anybody's records are believed. Filters (throttle, copy-on-read of a job) are
 * looked through: they say the file name of what is under them (QEMU 7.2, bdrv_refresh_filename).
 * What it speaks to over a network is told by the options of its driver.
 */
import { readlink, stat } from 'node:fs/promises'
import type { QmpClient, QueryNamedBlockNodesItem } from '@kvasir/qmp'
import { deviceId } from '../../model/qemu/ids.ts'
import { protocolGround } from '../../model/storage/volume-source.ts'
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
  /** Top first; Ceph's images are none. */
  readonly layers: readonly LayerNodes[]
}

/** What QEMU has open. */
export interface BlockGraph {
  readonly chains: readonly DiskChain[]
  /** Layers of no disk's chain. */
  readonly loose: readonly LayerNodes[]
  /** What was opened or only handed over for a layer that was then not made: by a daemon that died in between. */
  readonly begun: readonly BegunLayer[]
}

/** A file without a layer on it: its set of descriptors, and its node where it has one. */
export interface BegunLayer {
  readonly path: string
  readonly set: number
  readonly fileNode: string | undefined
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
  const files = filesByGround(nodes)
  const byGround = layersByGround(nodes, { files, paths })
  const chains = asked.disks.flatMap((disk) => {
    const device = deviceId('disk', disk)
    const root = blocks.find((block) => block.qdev?.split('/').includes(device))?.inserted
    return root === undefined ? [] : [{ disk, node: root['node-name'], layers: chainUnder(root, byGround) }]
  })
  const used = new Set(
    blocks
      .flatMap(({ inserted }) => (inserted ? chainUnder(inserted, byGround) : []))
      .map(({ node }) => node),
  )
  const begun = [...paths].flatMap(([ground, path]) =>
    byGround.has(ground) ? [] : [{ path, set: Number(ground), fileNode: files.get(ground) }],
  )
  return { chains, loose: [...byGround.values()].filter(({ node }) => !used.has(node)), begun }
}

/** What QEMU opened, by what it is opened from: a set of descriptors, or the storage on a server. */
type LayersByGround = ReadonlyMap<string, LayerNodes>

function filesByGround(nodes: readonly QueryNamedBlockNodesItem[]): ReadonlyMap<string, string> {
  const files = new Map<string, string>()
  for (const node of nodes) {
    const ground = groundOf(node.image.filename)
    if (isLowest(node.drv) && ground !== undefined && node['node-name'] !== undefined)
      files.set(ground, node['node-name'])
  }
  return files
}

function layersByGround(
  nodes: readonly QueryNamedBlockNodesItem[],
  {
    files,
    paths,
  }: { readonly files: ReadonlyMap<string, string>; readonly paths: ReadonlyMap<string, string> },
): LayersByGround {
  const layers = new Map<string, LayerNodes>()
  for (const { drv, ro, image, 'node-name': node } of nodes) {
    const driver = drv === 'luks' ? 'raw' : drv // What is raw and encrypted.
    if ((driver !== 'qcow2' && driver !== 'raw') || node === undefined) continue
    const ground = groundOf(image.filename)
    const fileNode = ground === undefined ? undefined : files.get(ground)
    if (ground === undefined || fileNode === undefined) continue
    const path = paths.get(ground) ?? (ground.includes(':') ? ground : '')
    layers.set(ground, { node, fileNode, path, readOnly: ro, driver })
  }
  return layers
}

function isLowest(driver: string | undefined): boolean {
  return driver !== undefined && ['file', 'host_device', 'iscsi', 'nfs'].includes(driver)
}

function chainUnder(root: QueryNamedBlockNodesItem, layers: LayersByGround): readonly LayerNodes[] {
  const chain: LayerNodes[] = []
  for (let image: typeof root.image | undefined = root.image; image; image = image['backing-image']) {
    const layer = layers.get(groundOf(image.filename) ?? '')
    if (layer && chain.at(-1) !== layer) chain.push(layer)
  }
  return chain
}

/**
 * What a node lies on. Its file name is `/dev/fdset/N`, or its options as JSON where they say more (QEMU 7.2, bdrv_refresh_filename);
 * that of a node of NFS is a URL (block/nfs.c).
 */
function groundOf(filename: string): string | undefined {
  if (filename.startsWith('json:')) return groundIn(filename.slice('json:'.length))
  const path = /^nfs:\/\/[^/]*(\/[^?]*)/.exec(filename)?.[1]
  if (path !== undefined) return protocolGround({ driver: 'nfs', options: { path } })
  return setOf(filename)
}

function setOf(filename: string): string | undefined {
  return /^\/dev\/fdset\/(\d+)$/.exec(filename)?.[1]
}

function groundIn(text: string): string | undefined {
  let at: unknown
  try {
    at = JSON.parse(text)
  } catch {
    return undefined
  }
  while (typeof at === 'object' && at !== null) {
    const filename: unknown = Reflect.get(at, 'filename')
    if (typeof filename === 'string') return groundOf(filename)
    const driver: unknown = Reflect.get(at, 'driver')
    const named = typeof driver === 'string' ? protocolGround({ driver, options: { ...at } }) : undefined
    if (named !== undefined) return named
    at = Reflect.get(at, 'file')
  }
  return undefined
}

/** The file behind each set: one of those given, else what the kernel calls it. */
async function pathsOf(
  pid: number,
  sets: readonly { readonly 'fdset-id': number; readonly fds: readonly { readonly fd: number }[] }[],
  files: readonly string[],
): Promise<ReadonlyMap<string, string>> {
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
  const paths = new Map<string, string>()
  for (const set of sets) {
    const [first] = set.fds
    if (first === undefined) continue
    const link = `/proc/${pid}/fd/${first.fd}`
    const path = known.get((await identify(link)) ?? '') ?? (await readlink(link).catch(() => undefined))
    if (path !== undefined) paths.set(String(set['fdset-id']), path)
  }
  return paths
}
