/**
 * Dedicated VMs that come and go on one host, the same for every policy: 2 nodes of 4 L3 domains of 4 cores with 2 threads. A VM of 1 to
 * 16 vCPUs comes at random times and stays for a random time; one that finds no place is turned away.
 */
import type { HostTopology } from '@kvasir/contract'

const gib = 2 ** 30
const shape = { nodes: 2, l3: 4, cores: 4, threads: 2 } as const
const coreCount = shape.nodes * shape.l3 * shape.cores
const memoryPerNode = 160 * gib

/** A VM that comes. */
export interface Arrival {
  readonly name: string
  readonly at: number
  readonly until: number
  readonly vcpus: number
  readonly memoryBytes: number
}

/** Where a VM is. */
export interface Place {
  readonly vm: Arrival
  readonly cpus: readonly number[]
  /** Memory by node. */
  readonly memory: readonly { readonly node: number; readonly bytes: number }[]
  /** The new places of VMs that are moved for this one first; each stays on its node. */
  readonly moved?: readonly Place[]
}

/** A policy: the place of a VM beside those that are there; undefined when it finds none. */
export type Policy = (vm: Arrival, there: readonly Place[]) => Place | undefined

/** What became of the VMs. */
export interface Outcome {
  readonly arrivals: number
  readonly rejected: number
  readonly moreL3: number
  /** Of those placed, the ones that no place on as few L3 domains as they need was free for when they came: no policy could avoid them. */
  readonly unavoidable: number
  readonly sharedCore: number
  /** Moves of VMs that were there, to make room. */
  readonly moved: number
}

/** The first core, which runs the host itself and the emulator threads: no VM is put there. */
export const keptCpus: readonly number[] = [0, coreCount]

/** The simulated host. */
export const simulatedHost: HostTopology = makeHost()

/** So many arrivals, by a seed; `load` is the part of the host's threads that all of them together would take. */
export function makeArrivals(
  count: number,
  { seed, load, sizes }: { readonly seed: number; readonly load: number; readonly sizes: readonly number[] },
): readonly Arrival[] {
  const random = generator(seed)
  const meanVcpus = sizes.reduce((sum, size) => sum + size, 0) / sizes.length
  const meanStay = 1
  const rate = (load * coreCount * shape.threads) / (meanVcpus * meanStay)
  let now = 0
  return Array.from({ length: count }, (_, index) => {
    now += exponential(random) / rate
    const vcpus = sizes[Math.floor(random() * sizes.length)] ?? 1
    const perVcpu = [1, 2, 4][Math.floor(random() * 3)] ?? 2
    return {
      name: `vm${index}`,
      at: now,
      until: now + exponential(random) * meanStay,
      vcpus,
      memoryBytes: vcpus * perVcpu * gib,
    }
  })
}

/** Lets the VMs come and go under a policy. */
export function simulate(arrivals: readonly Arrival[], policy: Policy): Outcome {
  let there: readonly Place[] = []
  const outcome = {
    arrivals: arrivals.length,
    rejected: 0,
    moreL3: 0,
    unavoidable: 0,
    sharedCore: 0,
    moved: 0,
  }
  for (const vm of arrivals) {
    there = there.filter((place) => place.vm.until > vm.at)
    const place = policy(vm, there)
    if (place === undefined) {
      outcome.rejected++
      continue
    }
    if (!fitsLeastL3(vm, there)) outcome.unavoidable++
    for (const moved of place.moved ?? []) {
      there = moveOne(moved, there)
      outcome.moved++
    }
    requireOwn(place, there)
    if (new Set(place.cpus.map(l3Of)).size > leastL3(vm)) outcome.moreL3++
    const taken = new Set(there.flatMap(({ cpus }) => cpus.map(coreOf)))
    if (place.cpus.some((cpu) => taken.has(coreOf(cpu)))) outcome.sharedCore++
    there = [...there, place]
  }
  return outcome
}

/** Who is moved must be none the worse: the same node, its memory where it was, no more L3 domains. */
function moveOne(moved: Place, there: readonly Place[]): readonly Place[] {
  const before = there.find(({ vm }) => vm === moved.vm)
  const others = there.filter((place) => place !== before)
  const domains = ({ cpus }: Place) => new Set(cpus.map(l3Of)).size
  const nodes = ({ cpus }: Place) => [...new Set(cpus.map(nodeOf))].sort((a, b) => a - b).join()
  if (before === undefined || nodes(moved) !== nodes(before) || domains(moved) > domains(before))
    throw new Error(`${moved.vm.name} may not be moved to ${moved.cpus.join()}`)
  requireOwn(moved, others)
  return [...others, { ...moved, memory: before.memory }]
}

/** The fewest L3 domains that hold a VM on an empty host. */
function leastL3({ vcpus }: Arrival): number {
  return Math.ceil(vcpus / (shape.cores * shape.threads))
}

/** Whether the emptiest domains of a node with memory for it have room, without more of them than it needs. */
function fitsLeastL3(vm: Arrival, there: readonly Place[]): boolean {
  const held = new Set([...keptCpus, ...there.flatMap(({ cpus }) => cpus)])
  const parts = there.flatMap(({ memory }) => memory)
  return simulatedHost.nodes.some(({ node, cpus, memoryBytes = 0 }) => {
    const used = parts.filter((part) => part.node === node).reduce((sum, { bytes }) => sum + bytes, 0)
    if (memoryBytes - used < vm.memoryBytes) return false
    const free = Map.groupBy(
      cpus.filter((cpu) => !held.has(cpu)),
      l3Of,
    )
    const largest = [...free.values()].map(({ length }) => length).sort((a, b) => b - a)
    return largest.slice(0, leastL3(vm)).reduce((sum, count) => sum + count, 0) >= vm.vcpus
  })
}

/** A benchmark whose policies cheat would prove nothing. */
function requireOwn(place: Place, there: readonly Place[]): void {
  const held = new Set(there.flatMap(({ cpus }) => cpus))
  if (new Set(place.cpus).size !== place.vm.vcpus || place.cpus.some((cpu) => held.has(cpu)))
    throw new Error(`${place.vm.name} was given CPUs that are not its own: ${place.cpus.join()}`)
}

function coreOf(cpu: number): number {
  return cpu % coreCount
}

function l3Of(cpu: number): number {
  return Math.floor(coreOf(cpu) / shape.cores)
}

function nodeOf(cpu: number): number {
  return Math.floor(l3Of(cpu) / shape.l3)
}

function exponential(random: () => number): number {
  return -Math.log(1 - random())
}

/** mulberry32: the same numbers from the same seed on every machine. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function makeHost(): HostTopology {
  const cores = Array.from({ length: coreCount }, (_, core) => ({
    core,
    socket: Math.floor(core / (shape.l3 * shape.cores)),
    die: Math.floor(core / (shape.l3 * shape.cores)),
    node: Math.floor(core / (shape.l3 * shape.cores)),
    l3: Math.floor(core / shape.cores),
    cpus: Array.from({ length: shape.threads }, (_, thread) => core + thread * coreCount),
  }))
  const cpusOf = (node: number) => cores.filter((core) => core.node === node).flatMap(({ cpus }) => cpus)
  const nodes = Array.from({ length: shape.nodes }, (_, node) => node)
  return {
    architecture: 'x86_64',
    cpus: cores.flatMap(({ cpus }) =>
      cpus.map((cpu) => ({ cpu, online: true, isolated: false, nohzFull: false })),
    ),
    offline: [],
    isolated: [],
    nohzFull: [],
    smt: 'on',
    sockets: nodes.map((socket) => ({ socket, cpus: cpusOf(socket) })),
    dies: [],
    clusters: [],
    l3: [],
    cores,
    kinds: [],
    caches: [],
    numa: true,
    nodes: nodes.map((node) => ({
      node,
      cpus: cpusOf(node),
      memoryBytes: memoryPerNode,
      freeBytes: memoryPerNode,
      distances: nodes.map((to) => ({ node: to, distance: to === node ? 10 : 21 })),
    })),
    pciDevices: [],
  }
}
