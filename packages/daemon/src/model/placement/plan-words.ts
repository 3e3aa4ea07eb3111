/** A plan in words: its summary, what was decided and why, and what is not as good as it could be. */
import type { GuestShape, HostTopology } from '@kvasir/contract'
import { formatBytes, formatCpuList } from '@kvasir/contract'
import type { HelperPlace, VcpuPlace } from './assign-threads.ts'
import type { Room } from './free-threads.ts'
import type { Judged } from './judge-nodes.ts'
import type { PlacementRequest } from './request.ts'

/** What there is to tell of a plan. */
export interface Told {
  readonly best: Judged
  readonly request: PlacementRequest
  readonly room: Room
  readonly vcpus: readonly VcpuPlace[]
  readonly helpers: HelperPlace
  readonly guest: GuestShape
  readonly bindMemory: boolean
  readonly topology: HostTopology
}

/** The place in one line. */
export function planSummary({ best, request, vcpus }: Told): string {
  const nodes = best.set.map(({ node }) => node)
  const l3 = inOrder([...new Set(best.places.flatMap(({ choice }) => choice.l3))].filter(isNumbered))
  const cpus = [...new Set(vcpus.flatMap((place) => place.cpus))]
  const where = `node${nodes.length > 1 ? 's' : ''} ${formatCpuList(nodes)}`
  const cache = l3.length === 0 ? '' : `, L3 ${l3.join(' and ')}`
  return `${request.placement}: ${count(request.vcpus, 'vCPU')} on ${where}${cache}, ${cpuWords(cpus)}`
}

/** What was decided and why, in the order in which it was. */
export function planSteps(told: Told): readonly string[] {
  const { helpers } = told
  return [
    nodeStep(told),
    ...l3Steps(told),
    ...coreSteps(told),
    ...deviceSteps(told),
    `Emulator and I/O threads go to ${cpuWords(helpers.cpus)}: ${helpers.why}.`,
    memoryStep(told),
    guestStep(told),
  ]
}

function nodeStep({ best, request, room }: Told): string {
  if (!room.map.numa) return 'The host shows no NUMA: all of it is one node.'
  const nodes = best.set.map(({ node }) => node)
  const others = room.map.nodes.filter(({ cores, node }) => cores.length > 0 && !nodes.includes(node)).length
  if (nodes.length === 1) {
    const cheapest =
      others === 0
        ? 'it is the only one with CPUs for VMs'
        : 'of the nodes that hold it alone it costs the least'
    return `One node is enough for ${count(request.vcpus, 'vCPU')}; node ${nodes[0]} is taken: ${cheapest}.`
  }
  const parts = best.places.map(({ node, vcpus }) => `${vcpus} on node ${node.node}`).join(', ')
  return `No smaller number of nodes has room, so it spans ${nodes.length}: ${parts}.`
}

function l3Steps({ best }: Told): readonly string[] {
  return best.places.map(({ node, vcpus, choice }, index) => {
    const named = inOrder(choice.l3.filter(isNumbered))
    if (named.length === 0) return `Node ${node.node} shows no L3, so only cores and threads were minded.`
    if (named.length === 1)
      return `L3 ${named[0]} holds the ${count(vcpus, 'vCPU')} of node ${node.node} together.`
    const largest = Math.max(0, ...(best.free[index] ?? []).map(({ total }) => total))
    const lack =
      largest < vcpus
        ? `An L3 of node ${node.node} has ${count(largest, 'thread')} at most, too few for ${count(vcpus, 'vCPU')}`
        : `No L3 of node ${node.node} has ${vcpus} threads free`
    return `${lack}, so the fewest that do together are taken: ${named.join(', ')}.`
  })
}

function coreSteps({ best, room }: Told): readonly string[] {
  return best.places.map(({ node, choice }) => {
    const cores = choice.cores
      .toSorted((a, b) => (a.cpus[0] ?? 0) - (b.cpus[0] ?? 0))
      .map(
        ({ cpus, whole, core }) => `${core.core} (${cpus.join('+')}${whole ? '' : ', partly another VM’s'})`,
      )
    const hasSiblings = choice.cores.some(({ cpus }) => cpus.length > 1)
    const way = {
      dedicated: `one hardware thread for each vCPU${hasSiblings ? ', siblings of a core in turn' : ''}`,
      pack: 'the vCPUs float over them',
      spread: 'each vCPU floats over the threads of its core',
    }[room.mode]
    return `Cores on node ${node.node}: ${cores.join(', ')}; ${way}.`
  })
}

function deviceSteps({ best, request, room, topology }: Told): readonly string[] {
  return request.devices.map((address) => {
    const device = topology.pciDevices.find((one) => one.address === address)
    if (device === undefined) return `The host has no device ${address}, so it was not minded.`
    if (!room.map.numa) return `Device ${address} is at the only node.`
    if (device.node === undefined)
      return `The firmware does not say at which node device ${address} is, so it was not minded.`
    const isHere = best.set.some(({ node }) => node === device.node)
    if (isHere) return `Device ${address} is at node ${device.node}, which is one of the VM’s.`
    const far = best.terms.find(({ what }) => what.includes(address))
    return `Device ${address} is not at a node of the VM: ${far?.what ?? `it is at node ${device.node}`}.`
  })
}

function memoryStep({ best, request, bindMemory, room }: Told): string {
  const size = formatBytes(request.memoryBytes)
  if (request.numa === 'off')
    return `NUMA is off for this VM: its ${size} come from wherever the kernel likes.`
  if (!room.map.numa)
    return `Its ${size} come from the only node${bindMemory ? '' : ', which has less than that free now'}.`
  if (!bindMemory)
    return `Its ${size} fit on no set of nodes that has the CPUs, so memory is not bound and some of it may be remote.`
  const parts = best.places.map(
    ({ node, memoryBytes }) => `${formatBytes(memoryBytes)} from node ${node.memoryNode}`,
  )
  return `Memory is bound to where the vCPUs are: ${parts.join(', ')}.`
}

function guestStep({ guest, room, request }: Told): string {
  if (request.guest !== undefined) return 'The guest is shown what its saved memory was shown.'
  const smt = guest.threads > 1 ? `cores of ${guest.threads} threads, which are siblings` : 'no siblings'
  const why = guest.threads > 1 || room.mode === 'dedicated' ? '' : ', since its vCPUs float'
  const numa =
    guest.nodes.length > 0 ? `${guest.nodes.length} NUMA nodes with the host’s distances` : 'one node'
  return `The guest is shown ${smt}${why}, and ${numa}.`
}

/** What an operator should know. */
export function planWarnings({ best, request, helpers, room, bindMemory, guest }: Told): readonly string[] {
  const terms = best.terms.filter(({ what }) => /another VM|weaker|mixes|not isolated|of others/.test(what))
  return [
    ...terms
      .map(({ what }) => `It ${what.replace(/^node \d+: /, '')}.`)
      .map((text) => text.replace(/^It (\d)/, '$1')),
    ...selfCrowding(best),
    ...(helpers.crowded
      ? ['No CPU is left beside the vCPUs: emulator and I/O threads take time from them.']
      : []),
    ...(request.numa === 'auto' && !bindMemory && room.map.numa
      ? ['Its memory is not bound to its nodes: none has room for it.']
      : []),
    ...(isOddOnSiblings(guest, best, room)
      ? [
          `${count(request.vcpus, 'vCPU')} do not fill whole cores, so the guest cannot be shown siblings; a multiple of the threads of a core can.`,
        ]
      : []),
  ]
}

/** A VM with more vCPUs than the threads that it floats over. */
function selfCrowding({ places }: Judged): readonly string[] {
  return places.flatMap(({ node, vcpus, choice }) => {
    const threads = choice.cores.flatMap(({ cpus }) => cpus).length
    return vcpus <= threads
      ? []
      : [
          `${vcpus} vCPUs share ${count(threads, 'hardware thread')} of node ${node.node}, so they wait for each other.`,
        ]
  })
}

function isOddOnSiblings(guest: GuestShape, best: Judged, { mode }: Room): boolean {
  const hasSmt = best.places.some(({ choice }) => choice.cores.some(({ cpus }) => cpus.length > 1))
  return mode === 'dedicated' && hasSmt && guest.threads === 1
}

function inOrder(l3: readonly string[]): readonly string[] {
  return l3.toSorted((a, b) => Number(a) - Number(b))
}

function cpuWords(cpus: readonly number[]): string {
  return `CPU${cpus.length === 1 ? '' : 's'} ${formatCpuList(cpus)}`
}

function isNumbered(l3: string): boolean {
  return /^\d+$/.test(l3)
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`
}
