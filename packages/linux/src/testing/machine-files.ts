/**
 * Machines that nobody here has, as the files in which a kernel would describe them: in memory, or written below a directory.
 *
 * A machine is said as its CPUs, each with the numbers of the parts it lies in; sets of siblings follow from them.
 */
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { formatCpuList } from '../machine/cpu-list.ts'
import { compareNumbered, type HostTree } from '../machine/host-tree.ts'

/** The files of a machine by path; a symbolic link is its target behind `-> `. */
export type MachineFiles = ReadonlyMap<string, string>

/** One CPU; parts with equal numbers in the same part above are the same. */
export interface CpuShape {
  readonly cpu: number
  readonly socket?: number
  readonly die?: number
  readonly cluster?: number
  readonly core: number
  readonly l2?: number
  /** The number of its L3 cache on the whole machine. */
  readonly l3?: number
  readonly node?: number
  readonly online?: boolean
  readonly maxKhz?: number
  readonly capacity?: number
  /** ARM's part number, such as 0xd0b. */
  readonly part?: string
}

export interface NodeShape {
  readonly node: number
  readonly memoryKib?: number
  readonly distances: readonly number[]
}

export interface MachineShape {
  readonly cpus: readonly CpuShape[]
  readonly nodes?: readonly NodeShape[]
  readonly l3Kib?: number
  /** Which of the two forms of a set a capture holds, and under which names. */
  readonly sets?: 'lists' | 'masks' | 'both' | 'old-lists' | 'old-masks'
  readonly possible?: string
  readonly cpuInfo?: (cpu: CpuShape) => string
  readonly more?: Readonly<Record<string, string>>
}

const cpuFolder = '/sys/devices/system/cpu'

/** The files of a machine of this shape. */
export function machineFiles(shape: MachineShape): MachineFiles {
  const online = shape.cpus.filter((cpu) => cpu.online !== false)
  const numbers = (cpus: readonly CpuShape[]) => cpus.map(({ cpu }) => cpu)
  const files = new Map<string, string>([
    [`${cpuFolder}/present`, formatCpuList(numbers(shape.cpus))],
    [`${cpuFolder}/possible`, shape.possible ?? formatCpuList(numbers(shape.cpus))],
    [`${cpuFolder}/online`, formatCpuList(numbers(online))],
    [`${cpuFolder}/kernel_max`, '8191'],
    ['/proc/cpuinfo', online.map(shape.cpuInfo ?? plainCpuInfo).join('\n')],
  ])
  const siblings = siblingsAmong(online)
  for (const cpu of shape.cpus) {
    if (cpu.cpu > 0) files.set(`${cpuFolder}/cpu${cpu.cpu}/online`, cpu.online === false ? '0' : '1')
    else files.set(`${cpuFolder}/cpu0/uevent`, '')
    if (cpu.online !== false) describeCpu(files, cpu, { shape, siblings })
  }
  for (const node of shape.nodes ?? []) describeNode(files, node, online)
  for (const [path, text] of Object.entries(shape.more ?? {})) files.set(path, text)
  return files
}

function plainCpuInfo({ cpu, socket, core, part }: CpuShape): string {
  if (part !== undefined)
    return `processor\t: ${cpu}\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: ${part}\n`
  return [
    `processor\t: ${cpu}`,
    'vendor_id\t: AuthenticAMD',
    'cpu family\t: 25',
    'model\t\t: 17',
    'model name\t: Some CPU',
    'stepping\t: 1',
    `physical id\t: ${socket ?? 0}`,
    `core id\t\t: ${core}`,
    'flags\t\t: fpu lm svm npt',
    '',
  ].join('\n')
}

/** CPUs that have some of their numbers in common, and the texts for them. */
interface Siblings {
  readonly cpus: readonly number[]
  readonly list: string
  readonly mask: string
}

interface Surroundings {
  readonly shape: MachineShape
  readonly siblings: (cpu: CpuShape, keys: readonly (keyof CpuShape)[]) => Siblings
}

/** Finds siblings among the CPUs that are online, each group once: machines have hundreds of CPUs. */
function siblingsAmong(online: readonly CpuShape[]): Surroundings['siblings'] {
  const groups = new Map<string, Siblings>()
  return (cpu, keys) => {
    const name = keys.map((key) => `${key}=${cpu[key]}`).join()
    const known = groups.get(name)
    if (known) return known
    const group = textsOf(
      online.filter((other) => keys.every((key) => other[key] === cpu[key])).map((other) => other.cpu),
    )
    groups.set(name, group)
    return group
  }
}

function textsOf(cpus: readonly number[]): Siblings {
  return { cpus, list: formatCpuList(cpus), mask: formatMask(cpus) }
}

function describeCpu(files: Map<string, string>, cpu: CpuShape, { shape, siblings }: Surroundings): void {
  const same = (...keys: readonly (keyof CpuShape)[]) => siblings(cpu, keys)
  const alone = textsOf([cpu.cpu])
  const folder = `${cpuFolder}/cpu${cpu.cpu}`
  const put = (path: string, text: string | number | undefined) => {
    if (text !== undefined) files.set(`${folder}/${path}`, String(text))
  }
  // Such kernels know no dies.
  const isArm = cpu.part !== undefined
  const isOld = shape.sets?.startsWith('old') === true
  const putSet = (path: string, set: Siblings) => {
    const form = shape.sets ?? 'both'
    const list = path.endsWith('_map') ? path.replace(/_map$/, '_list') : `${path}_list`
    if (!form.endsWith('masks')) put(list, set.list)
    if (!form.endsWith('lists')) put(path, set.mask)
  }
  put('topology/core_id', cpu.core)
  put('topology/physical_package_id', cpu.socket ?? 0)
  putSet('topology/thread_siblings', same('socket', 'die', 'cluster', 'core'))
  putSet('topology/core_siblings', same('socket'))
  if (!isOld) {
    put('topology/die_id', isArm ? -1 : (cpu.die ?? 0))
    put('topology/cluster_id', cpu.cluster ?? -1)
    putSet('topology/core_cpus', same('socket', 'die', 'cluster', 'core'))
    putSet('topology/package_cpus', same('socket'))
    putSet('topology/die_cpus', isArm ? alone : same('socket', 'die'))
    putSet('topology/cluster_cpus', cpu.cluster === undefined ? alone : same('socket', 'die', 'cluster'))
  }
  put('cpu_capacity', cpu.capacity)
  put('cpufreq/cpuinfo_max_freq', cpu.maxKhz)
  const core = same('socket', 'die', 'cluster', 'core')
  const caches = [
    { level: 1, type: 'Data', size: '32K', set: core },
    { level: 1, type: 'Instruction', size: '32K', set: core },
    {
      level: 2,
      type: 'Unified',
      size: '1024K',
      set: cpu.l2 === undefined ? core : same('socket', 'l2'),
    },
    ...(cpu.l3 === undefined
      ? []
      : [{ level: 3, type: 'Unified', size: `${shape.l3Kib ?? 32768}K`, set: same('l3') }]),
  ]
  for (const [index, cache] of caches.entries()) {
    put(`cache/index${index}/level`, cache.level)
    put(`cache/index${index}/type`, cache.type)
    put(`cache/index${index}/size`, cache.size)
    if (!isOld) put(`cache/index${index}/id`, cache.set.cpus[0])
    putSet(`cache/index${index}/shared_cpu_map`, cache.set)
  }
}

function describeNode(
  files: Map<string, string>,
  { node, memoryKib = 0, distances }: NodeShape,
  online: readonly CpuShape[],
): void {
  const folder = `/sys/devices/system/node/node${node}`
  const cpus = online.filter((cpu) => cpu.node === node).map(({ cpu }) => cpu)
  files.set(`${folder}/cpulist`, cpus.length === 0 ? '' : formatCpuList(cpus))
  files.set(`${folder}/cpumap`, formatMask(cpus))
  files.set(`${folder}/distance`, distances.join(' '))
  files.set(
    `${folder}/meminfo`,
    `Node ${node} MemTotal:       ${memoryKib} kB\nNode ${node} MemFree:        ${memoryKib} kB`,
  )
}

/** A set as words of 32 bits, the highest first. */
export function formatMask(cpus: readonly number[]): string {
  const words = Array.from({ length: Math.floor(Math.max(0, ...cpus) / 32) + 1 }, () => 0)
  for (const cpu of cpus) words[cpu >> 5] = ((words[cpu >> 5] ?? 0) | (1 << (cpu & 31))) >>> 0
  return words
    .reverse()
    .map((word) => word.toString(16).padStart(8, '0'))
    .join(',')
}

/** A tree that is not on any disk. */
export function memoryTree(files: MachineFiles): HostTree {
  const folders = new Map<string, Set<string>>()
  for (const path of files.keys()) {
    for (let at = path; at !== '/'; at = dirname(at)) {
      const folder = dirname(at)
      const names = folders.get(folder) ?? new Set()
      const name = basename(at)
      if (names.has(name)) break
      folders.set(folder, names.add(name))
    }
  }
  const linkOf = (path: string) => {
    const text = files.get(path)
    return text?.startsWith('-> ') ? text.slice(3) : undefined
  }
  return {
    isLive: false,
    readText: (path) => (linkOf(path) === undefined ? files.get(path)?.trim() : undefined),
    list: (path, pattern) =>
      [...(folders.get(path) ?? [])].filter((name) => pattern.test(name)).sort(compareNumbered),
    linkName: (path) => {
      const target = linkOf(path)
      return target === undefined ? undefined : basename(target)
    },
    linkTarget: linkOf,
  }
}

/** Writes the files below a directory, as somebody's capture. */
export async function writeMachine(files: MachineFiles, root: string): Promise<void> {
  const folders = new Set([...files.keys()].map((path) => join(root, dirname(path))))
  for (const folder of folders) await mkdir(folder, { recursive: true })
  for (const [path, text] of files) {
    const target = /^-> (.+)$/.exec(text)?.[1]
    if (target === undefined) await writeFile(join(root, path), `${text}\n`)
    else await symlink(target, join(root, path))
  }
}
