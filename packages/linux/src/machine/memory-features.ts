/**
 * What the kernel does with memory: KSM, transparent and reserved huge pages, zswap, swap, pressure, the multi-generation LRU.
 * Each is absent where the kernel was built without it. Documented in the kernel's Documentation/admin-guide/mm.
 */
import { type HostTree, readNumber } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'
import { readSystemMemory } from './system-memory.ts'

const mmFolder = '/sys/kernel/mm'
const nodeFolder = '/sys/devices/system/node'
const hugepagesPattern = /^hugepages-\d{1,9}kB$/

type State = 'on' | 'off' | 'absent'

/** Reads what the kernel of a tree does with memory. The size of a base page is not in its files; undefined is unknown. */
export function readMemoryFeatures(tree: HostTree, pageBytes: number | undefined) {
  const memory = readSystemMemory(tree)
  return {
    ksm: readKsm(tree, pageBytes),
    thp: readThp(tree, memory.anonymousHugeBytes),
    hugepages: readHugepages(tree),
    zswap: readZswap(tree, memory),
    swap: { totalBytes: memory.swapTotalBytes, freeBytes: memory.swapFreeBytes },
    psi: readPressure(tree),
    mglru: { state: lruState(tree) },
  }
}

function readKsm(tree: HostTree, pageBytes: number | undefined) {
  const run = tree.readText(`${mmFolder}/ksm/run`)
  if (run === undefined) return { state: 'absent' as const }
  const state: State = run === '1' ? 'on' : 'off'
  const pagesSharing = readNumber(tree, `${mmFolder}/ksm/pages_sharing`)
  const across = tree.readText(`${mmFolder}/ksm/merge_across_nodes`)
  return withoutAbsent({
    state,
    pagesShared: readNumber(tree, `${mmFolder}/ksm/pages_shared`),
    pagesSharing,
    savedBytes: pagesSharing === undefined || pageBytes === undefined ? undefined : pagesSharing * pageBytes,
    mergeAcrossNodes: across === undefined ? undefined : across === '1',
  })
}

function readThp(tree: HostTree, inUseBytes: number) {
  const chosen = (name: string) => chosenWord(tree.readText(`${mmFolder}/transparent_hugepage/${name}`))
  const mode = (['always', 'madvise', 'never'] as const).find((word) => word === chosen('enabled'))
  if (mode === undefined) return { mode: 'absent' as const }
  return withoutAbsent({ mode, defrag: chosen('defrag'), shmem: chosen('shmem_enabled'), inUseBytes })
}

/** The word in brackets, as in `always [madvise] never`. */
function chosenWord(text: string | undefined): string | undefined {
  return /\[([\w+-]{1,32})\]/.exec(text ?? '')?.[1]
}

function readHugepages(tree: HostTree) {
  const nodes = tree.list(nodeFolder, /^node\d{1,4}$/)
  return tree.list(`${mmFolder}/hugepages`, hugepagesPattern).map((name) => ({
    sizeBytes: Number(/\d+/.exec(name)?.[0] ?? 0) * 1024,
    ...readPool(tree, `${mmFolder}/hugepages/${name}`),
    reserved: readNumber(tree, `${mmFolder}/hugepages/${name}/resv_hugepages`) ?? 0,
    nodes: nodes.map((node) => ({
      node: Number(node.slice(4)),
      ...readPool(tree, `${nodeFolder}/${node}/hugepages/${name}`),
    })),
  }))
}

function readPool(tree: HostTree, folder: string) {
  const count = (name: string) => readNumber(tree, `${folder}/${name}`) ?? 0
  return {
    total: count('nr_hugepages'),
    free: count('free_hugepages'),
    surplus: count('surplus_hugepages'),
  }
}

function readZswap(tree: HostTree, memory: ReturnType<typeof readSystemMemory>) {
  const parameter = (name: string) => tree.readText(`/sys/module/zswap/parameters/${name}`)
  const enabled = parameter('enabled')
  if (enabled === undefined) return { state: 'absent' as const }
  const state: State = enabled === 'Y' ? 'on' : 'off'
  return withoutAbsent({
    state,
    compressor: parameter('compressor'),
    pool: parameter('zpool'),
    maxPoolPercent: readNumber(tree, '/sys/module/zswap/parameters/max_pool_percent'),
    poolBytes: memory.zswapPoolBytes,
    storedBytes: memory.zswappedBytes,
  })
}

/** A kernel that was told `psi=0` has no files, one that would need `psi=1` has files that cannot be read. */
function readPressure(tree: HostTree) {
  const files = tree.list('/proc/pressure', /^(cpu|memory|io)$/)
  if (files.length === 0) return { state: 'absent' as const }
  const percent = (name: string) => {
    const value = /^some avg10=(\d{1,3}\.\d{2})/m.exec(tree.readText(`/proc/pressure/${name}`) ?? '')?.[1]
    return value === undefined ? undefined : Number(value)
  }
  const cpuPercent = percent('cpu')
  const state: State = cpuPercent === undefined ? 'off' : 'on'
  return withoutAbsent({ state, cpuPercent, memoryPercent: percent('memory'), ioPercent: percent('io') })
}

function lruState(tree: HostTree): State {
  const enabled = tree.readText(`${mmFolder}/lru_gen/enabled`)
  if (enabled === undefined) return 'absent'
  return (Number.parseInt(enabled, 16) & 1) === 1 ? 'on' : 'off'
}
