/**
 * A topology drawn for people: a tree of sockets, dies, L3 domains and cores, then the NUMA nodes and the PCI devices as tables.
 *
 * A level that says nothing is left out: the only die of a socket, the cluster that is all of it. The cores of one place share a
 * line, each as its threads: `0+4` is a core with the CPUs 0 and 4.
 */
import type { HostTopology } from '@kvasir/contract'
import { formatBytes } from '@kvasir/contract/size'
import { formatCpuList } from '@kvasir/linux/cpu-list'
import { formatTable } from '../output/table.ts'

type Core = HostTopology['cores'][number]
type Bold = (text: string) => string

interface Branch {
  readonly text: string
  readonly branches: readonly Branch[]
}

const coresInLine = 8

/** The topology as lines. */
export function drawTopology(topology: HostTopology, bold: Bold): string {
  const sections = [
    [`${summary(topology)}\n`, ...drawNotes(topology)].join(''),
    topology.sockets.map((socket) => drawBranch(socketBranch(socket, topology), bold)).join(''),
    drawNodes(topology, bold),
    drawDevices(topology, bold),
  ]
  return sections.filter((section) => section !== '').join('\n')
}

function summary(topology: HostTopology): string {
  const { architecture, cpus, offline, sockets, dies, l3, cores, nodes } = topology
  const online = cpus.length - offline.length
  return [
    `${architecture}: ${count(sockets.length, 'socket')}`,
    ...(dies.length > sockets.length ? [count(dies.length, 'die')] : []),
    l3.length === 0 ? 'no L3 shown' : count(l3.length, 'L3 domain'),
    count(cores.length, 'core'),
    `${count(online, 'CPU')} online`,
    topology.numa ? count(nodes.length, 'NUMA node') : 'no NUMA',
  ].join(', ')
}

function drawNotes({
  cpus,
  offline,
  isolated,
  nohzFull,
  smt,
  kinds,
  caches,
}: HostTopology): readonly string[] {
  const lists = [
    ['Offline', offline],
    ['Isolated', isolated],
    ['Tickless', nohzFull],
  ] as const
  const shown = lists.filter(([, list]) => list.length > 0)
  return [
    `SMT: ${smt}\n`,
    ...shown.map(([title, list]) => `${title}: ${cpuWords(list)} (${list.length} of ${cpus.length})\n`),
    ...kinds.map(({ kind, cpus: members, maxMhz, capacity }) => {
      const speed = [
        ...(maxMhz === undefined ? [] : [`up to ${maxMhz} MHz`]),
        ...(capacity === undefined ? [] : [`capacity ${capacity}`]),
      ]
      return `${capital(kind)} cores: ${cpuWords(members)}${speed.length > 0 ? `, ${speed.join(', ')}` : ''}\n`
    }),
    ...(caches.length === 0 ? [] : [`Caches: ${caches.map(cacheText).join(', ')}\n`]),
  ]
}

function cacheText({ level, type, sizeBytes, instances }: HostTopology['caches'][number]): string {
  const letter = { data: 'd', instruction: 'i', unified: '' }[type]
  return `${instances} x L${level}${letter}${sizeBytes === undefined ? '' : ` ${formatBytes(sizeBytes)}`}`
}

function socketBranch(socket: HostTopology['sockets'][number], topology: HostTopology): Branch {
  const dies = topology.dies.filter((die) => die.socket === socket.socket)
  const branches = dies.map((die): Branch => {
    const cores = topology.cores.filter((core) => core.die === die.die)
    const inner = l3Branches(cores, topology)
    return { text: `Die ${die.die}  ${coreCount(cores)}`, branches: inner }
  })
  const [only] = branches
  const id =
    socket.packageId === undefined || socket.packageId === socket.socket ? '' : ` (id ${socket.packageId})`
  const cores = topology.cores.filter((core) => core.socket === socket.socket)
  return {
    text: `Socket ${socket.socket}${id}  ${coreCount(cores)}, ${cpuWords(socket.cpus)}`,
    branches: branches.length === 1 && only !== undefined ? only.branches : branches,
  }
}

/** The L3 domains of a die; cores without one stand beside them. */
function l3Branches(cores: readonly Core[], topology: HostTopology): readonly Branch[] {
  const groups = Map.groupBy(cores, (core) => core.l3)
  if (topology.l3.length === 0) return coreBranches(cores)
  return [...groups].flatMap(([l3, members]): readonly Branch[] => {
    if (l3 === undefined)
      return [{ text: `Without L3  ${placeOf(members, topology)}`, branches: coreBranches(members) }]
    const size = topology.l3.find((domain) => domain.l3 === l3)?.sizeBytes
    const text = `L3 ${l3}${size === undefined ? '' : ` (${formatBytes(size)})`}  ${placeOf(members, topology)}`
    return [{ text, branches: coreBranches(members) }]
  })
}

/** The lines of cores, parted where node, kind or cluster differ. */
function coreBranches(cores: readonly Core[]): readonly Branch[] {
  const groups = Map.groupBy(cores, (core) => `${core.node} ${core.kind} ${core.cluster}`)
  return [...groups.values()].flatMap((members) => {
    const [first] = members
    const words = [
      ...(hasSeveral(cores, 'node') && first?.node !== undefined ? [`node ${first.node}`] : []),
      ...(first?.kind === undefined ? [] : [first.kind]),
      ...(first?.cluster === undefined ? [] : [`cluster ${first.cluster}`]),
    ]
    return coreLines(members, [...words, members.length === 1 ? 'core' : 'cores'].join(', '))
  })
}

function coreLines(cores: readonly Core[], title: string): readonly Branch[] {
  const words = cores.map((core) => core.cpus.join('+'))
  const lines = Array.from({ length: Math.ceil(words.length / coresInLine) }, (_, line) =>
    words.slice(line * coresInLine, (line + 1) * coresInLine).join('  '),
  )
  return lines.map((line, index) => ({
    text: `${index === 0 ? title : ' '.repeat(title.length)}  ${line}`,
    branches: [],
  }))
}

/** How many cores there are, and on which node when it is one. */
function placeOf(cores: readonly Core[], topology: HostTopology): string {
  const nodes = [...new Set(cores.flatMap((core) => core.node ?? []))]
  const where =
    topology.numa && nodes.length > 0 ? `, node${nodes.length > 1 ? 's' : ''} ${formatCpuList(nodes)}` : ''
  return `${coreCount(cores)}${where}`
}

function hasSeveral(cores: readonly Core[], key: 'node'): boolean {
  return new Set(cores.map((core) => core[key])).size > 1
}

function cpuWords(cpus: readonly number[]): string {
  return `CPU${cpus.length === 1 ? '' : 's'} ${formatCpuList(cpus)}`
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}

function coreCount(cores: readonly Core[]): string {
  return count(cores.length, 'core')
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`
}

function drawBranch(
  branch: Branch,
  bold: Bold,
  indent: { readonly own: string; readonly inner: string } = { own: '', inner: '' },
): string {
  const last = branch.branches.length - 1
  const lines = branch.branches.map((child, index) =>
    drawBranch(child, bold, {
      own: `${indent.inner}${index === last ? '└─ ' : '├─ '}`,
      inner: `${indent.inner}${index === last ? '   ' : '│  '}`,
    }),
  )
  return `${indent.own}${indent.own === '' ? bold(branch.text) : branch.text}\n${lines.join('')}`
}

function drawNodes({ numa, nodes }: HostTopology, bold: Bold): string {
  if (!numa) return ''
  const isLean = (node: HostTopology['nodes'][number]) => lackOf(node) !== ''
  const isReached = ({ node: to }: HostTopology['nodes'][number]) =>
    nodes.some(({ distances }) => distances.some(({ node }) => node === to))
  const tiers = new Set(nodes.map((node) => node.tier))
  return formatTable(
    nodes,
    [
      { title: 'NODE', show: (node) => node.node, right: true },
      { title: 'CPUS', show: (node) => formatCpuList(node.cpus) },
      { title: 'MEMORY', show: (node) => sizeOf(node.memoryBytes), right: true },
      { title: 'FREE', show: (node) => sizeOf(node.freeBytes), right: true },
      ...nodes.filter(isReached).map(({ node: to }) => ({
        title: `TO ${to}`,
        show: (node: HostTopology['nodes'][number]) =>
          node.distances.find((row) => row.node === to)?.distance,
        right: true,
      })),
      ...(tiers.size > 1
        ? [{ title: 'TIER', show: (node: HostTopology['nodes'][number]) => node.tier, right: true }]
        : []),
      ...(nodes.some(isLean) ? [{ title: 'NOTE', show: lackOf }] : []),
    ],
    { bold },
  )
}

function sizeOf(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : formatBytes(bytes)
}

function lackOf({ cpus, memoryBytes }: HostTopology['nodes'][number]): string {
  return [...(cpus.length === 0 ? ['no CPUs'] : []), ...(memoryBytes === 0 ? ['no memory'] : [])].join(', ')
}

const bridgeClass = '06'

/** Devices by node; bridges only lead to them. */
function drawDevices({ pciDevices }: HostTopology, bold: Bold): string {
  const devices = pciDevices.filter(({ classCode }) => !classCode.startsWith(bridgeClass))
  if (devices.length === 0) return ''
  const sorted = devices.toSorted(
    (a, b) => (a.node ?? -1) - (b.node ?? -1) || (a.address < b.address ? -1 : 1),
  )
  return formatTable(
    sorted,
    [
      { title: 'PCI DEVICE', show: (device) => device.address },
      { title: 'NODE', show: (device) => device.node, right: true },
      { title: 'IOMMU GROUP', show: (device) => device.iommuGroup, right: true },
      { title: 'CLASS', show: (device) => device.className },
      { title: 'ID', show: (device) => `${device.vendorId}:${device.deviceId}` },
      { title: 'DRIVER', show: (device) => device.driver },
    ],
    { bold },
  )
}
