/** What the host uses its block devices for, by the PCI device that they hang on: mounts, swap, and what device mapper and md make of them. */
import type { HostTree } from './host-tree.ts'

const classFolder = '/sys/class/block'
const diskPattern = /^[\w!.-]{1,64}$/
/** Layers of device mapper and md above a disk that are followed. */
const mostLayers = 8

/** A block device and what it is used for, each such as `/home` or `swap`. */
export interface DiskUses {
  readonly disk: string
  readonly uses: readonly string[]
}

/** The disks and partitions that are used, by the address of the PCI function. */
export function readBlockUses(tree: HostTree): ReadonlyMap<string, readonly DiskUses[]> {
  const mounts = readMounts(tree)
  const found = new Map<string, DiskUses[]>()
  for (const disk of tree.list(classFolder, diskPattern)) {
    const address = pciAddressOf(tree, disk)
    if (address === undefined) continue
    const uses = [...new Set(usesOf(tree, disk, { mounts, layers: mostLayers }))]
    if (uses.length > 0) found.set(address, [...(found.get(address) ?? []), { disk, uses }])
  }
  return found
}

/** The last PCI function in a path of /sys/devices. */
export function lastPciAddress(path: string | undefined): string | undefined {
  return path?.match(/[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7](?=\/)/g)?.at(-1)
}

/** With several paths to it, an NVMe disk hangs on its subsystem, and that on its controllers (drivers/nvme/host/multipath.c). */
function pciAddressOf(tree: HostTree, disk: string): string | undefined {
  const target = tree.linkTarget(`${classFolder}/${disk}`)
  const own = lastPciAddress(target)
  if (own !== undefined) return own
  const subsystem = /\/(nvme-subsys\d+)\//.exec(target ?? '')?.[1]
  if (subsystem === undefined) return undefined
  const folder = `/sys/class/nvme-subsystem/${subsystem}`
  const controllers = tree.list(folder, /^nvme\d+$/)
  return controllers.map((name) => lastPciAddress(tree.linkTarget(`${folder}/${name}`))).find(Boolean)
}

interface Mounts {
  readonly byNumber: ReadonlyMap<string, readonly string[]>
  readonly bySource: ReadonlyMap<string, readonly string[]>
  readonly swaps: ReadonlySet<string>
}

function usesOf(
  tree: HostTree,
  disk: string,
  { mounts, layers }: { readonly mounts: Mounts; readonly layers: number },
): readonly string[] {
  const number = tree.readText(`${classFolder}/${disk}/dev`) ?? ''
  const holders = layers === 0 ? [] : tree.list(`${classFolder}/${disk}/holders`, diskPattern)
  return [
    ...(mounts.byNumber.get(number) ?? []),
    ...(mounts.bySource.get(`/dev/${disk}`) ?? []),
    ...(mounts.swaps.has(`/dev/${disk}`) ? ['swap'] : []),
    ...holders.flatMap((holder) => {
      const above = usesOf(tree, holder, { mounts, layers: layers - 1 })
      return above.length > 0 ? above : [holder]
    }),
  ]
}

/** Fields of /proc/self/mountinfo: Documentation/filesystems/proc.rst, 3.5. A file system of several disks has a number of its own. */
function readMounts(tree: HostTree): Mounts {
  const byNumber = new Map<string, string[]>()
  const bySource = new Map<string, string[]>()
  const wholes = new Set<string>()
  /** Folders of a file system that are mounted elsewhere too say nothing new beside the whole of it. */
  const add = (
    map: Map<string, string[]>,
    key: string,
    { root, point }: Record<'root' | 'point', string>,
  ) => {
    const isWhole = root === '/'
    if (!isWhole && wholes.has(key)) return
    map.set(key, isWhole && !wholes.has(key) ? [point] : [...(map.get(key) ?? []), point])
    if (isWhole) wholes.add(key)
  }
  for (const line of (tree.readText('/proc/self/mountinfo') ?? '').split('\n')) {
    const fields = line.split(' ')
    const [, , number, root, point] = fields
    if (number === undefined || root === undefined || point === undefined) continue
    const source = fields[fields.indexOf('-') + 2]
    add(byNumber, number, { root, point })
    if (number.startsWith('0:') && source?.startsWith('/dev/')) add(bySource, source, { root, point })
  }
  const swaps = (tree.readText('/proc/swaps') ?? '').split('\n').slice(1)
  return { byNumber, bySource, swaps: new Set(swaps.flatMap((line) => line.split(/\s+/)[0] ?? [])) }
}
