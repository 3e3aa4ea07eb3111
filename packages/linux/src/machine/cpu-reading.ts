/**
 * What /sys/devices/system/cpu says of each CPU, as it stands there. An offline CPU has neither `topology` nor `cache`.
 *
 * Each set exists as a list and as a mask, and since 5.3 under two names; a captured tree may hold any of them. Documented in the
 * kernel's Documentation/ABI/stable/sysfs-devices-system-cpu.
 */
import { setImmediate } from 'node:timers/promises'
import { maxCpus, parseCpuList, parseCpuMask } from './cpu-list.ts'
import { type HostTree, parseInteger, readNumber } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'

const cpuFolder = '/sys/devices/system/cpu'
/** After so many CPUs, others get a turn. */
const cpusPerTurn = 16

export interface CacheReading {
  readonly level: number
  readonly type: 'data' | 'instruction' | 'unified'
  readonly id?: number
  readonly sizeBytes?: number
  readonly cpus: readonly number[]
}

/** One online CPU. Ids below 0, which say that there is none, are left out. */
export interface CpuReading {
  readonly cpu: number
  readonly coreId?: number
  readonly packageId?: number
  readonly dieId?: number
  readonly clusterId?: number
  readonly coreCpus?: readonly number[]
  readonly packageCpus?: readonly number[]
  readonly dieCpus?: readonly number[]
  readonly clusterCpus?: readonly number[]
  readonly caches: readonly CacheReading[]
  /** Of 1024, which is the strongest CPU. */
  readonly capacity?: number
  readonly maxKhz?: number
}

/** The CPUs of a machine. */
export interface CpusReading {
  readonly present: readonly number[]
  readonly online: readonly CpuReading[]
  readonly isolated: readonly number[]
  readonly nohzFull: readonly number[]
  /** The kinds of Intel's hybrid processors, each with its CPUs. */
  readonly hybrid: ReadonlyMap<string, readonly number[]>
}

/** Reads the CPUs of a tree; undefined when it shows none. */
export async function readCpus(tree: HostTree): Promise<CpusReading | undefined> {
  const list = (name: string) => parseCpuList(tree.readText(`${cpuFolder}/${name}`))
  const folders = tree
    .list(cpuFolder, /^cpu\d{1,4}$/)
    .map((name) => Number(name.slice(3)))
    .filter((cpu) => cpu < maxCpus)
  const present = oneOrMore(list('present')) ?? oneOrMore(folders) ?? list('possible') ?? []
  if (present.length === 0) return undefined
  const said = oneOrMore(list('online'))
  const isListed = said === undefined ? undefined : new Set(said)
  const online = present.filter((cpu) => isListed?.has(cpu) ?? isOnline(tree, cpu))
  const readings: CpuReading[] = []
  for (const cpu of online) {
    readings.push(readCpu(tree, cpu))
    if (readings.length % cpusPerTurn === 0) await setImmediate()
  }
  return {
    present,
    online: readings,
    isolated: list('isolated') ?? [],
    nohzFull: list('nohz_full') ?? [],
    hybrid: readHybrid(tree),
  }
}

function oneOrMore(list: readonly number[] | undefined): readonly number[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list
}

function isOnline(tree: HostTree, cpu: number): boolean {
  return tree.readText(`${cpuFolder}/cpu${cpu}/online`) !== '0'
}

function readCpu(tree: HostTree, cpu: number): CpuReading {
  const folder = `${cpuFolder}/cpu${cpu}`
  const id = (name: string) => {
    const value = readNumber(tree, `${folder}/topology/${name}`)
    return value === undefined || value < 0 ? undefined : value
  }
  const set = (...names: readonly string[]) => readSet(tree, `${folder}/topology`, names)
  return withoutAbsent({
    cpu,
    coreId: id('core_id'),
    packageId: id('physical_package_id'),
    dieId: id('die_id'),
    clusterId: id('cluster_id'),
    coreCpus: set('core_cpus', 'thread_siblings'),
    packageCpus: set('package_cpus', 'core_siblings'),
    // Where an architecture knows no dies, the id is -1 and each CPU is said to be alone.
    dieCpus: tree.readText(`${folder}/topology/die_id`) === '-1' ? undefined : set('die_cpus'),
    clusterCpus: set('cluster_cpus'),
    caches: readCaches(tree, folder),
    capacity: readNumber(tree, `${folder}/cpu_capacity`),
    maxKhz: readNumber(tree, `${folder}/cpufreq/cpuinfo_max_freq`),
  })
}

/** The first of these sets that is there, as a list or as a mask. */
function readSet(tree: HostTree, folder: string, names: readonly string[]): readonly number[] | undefined {
  for (const name of names) {
    const cpus =
      parseCpuList(tree.readText(`${folder}/${name}_list`)) ??
      parseCpuMask(tree.readText(`${folder}/${name}`))
    if (cpus !== undefined && cpus.length > 0) return cpus
  }
  return undefined
}

const cacheTypes: ReadonlyMap<string | undefined, CacheReading['type']> = new Map([
  ['Data', 'data'],
  ['Instruction', 'instruction'],
  ['Unified', 'unified'],
])

function readCaches(tree: HostTree, folder: string): readonly CacheReading[] {
  return tree.list(`${folder}/cache`, /^index\d{1,2}$/).flatMap((index) => {
    const at = `${folder}/cache/${index}`
    const level = readNumber(tree, `${at}/level`)
    const type = cacheTypes.get(tree.readText(`${at}/type`))
    const cpus =
      parseCpuList(tree.readText(`${at}/shared_cpu_list`)) ??
      parseCpuMask(tree.readText(`${at}/shared_cpu_map`))
    if (level === undefined || type === undefined || cpus === undefined) return []
    const id = readNumber(tree, `${at}/id`)
    return [withoutAbsent({ level, type, cpus, id, sizeBytes: parseCacheSize(tree.readText(`${at}/size`)) })]
  })
}

/** A size such as `32768K`; the kernel writes KiB. */
function parseCacheSize(text: string | undefined): number | undefined {
  const kibibytes = parseInteger(/^(\d{1,12})K$/.exec(text ?? '')?.[1])
  return kibibytes === undefined ? undefined : kibibytes * 1024
}

/** Hybrid processors have one PMU for each kind of core, which lists the kind's CPUs. */
function readHybrid(tree: HostTree): ReadonlyMap<string, readonly number[]> {
  const kinds = [
    ['performance', 'cpu_core'],
    ['efficiency', 'cpu_atom'],
    ['low-power', 'cpu_lowpower'],
  ] as const
  return new Map(
    kinds.flatMap(([kind, pmu]) => {
      const cpus = oneOrMore(parseCpuList(tree.readText(`/sys/devices/${pmu}/cpus`)))
      return cpus === undefined ? [] : [[kind, cpus] as const]
    }),
  )
}
