/**
 * What speaks against nodes, as numbers that add up with those of their cores: distances between them, to the VM's devices and to its
 * memory, and what they would leave to the VMs that come later.
 */
import type { CostTerm } from './core-costs.ts'
import type { MapNode } from './host-map.ts'
import type { Attempt } from './judge-nodes.ts'
import { memoryRoom } from './memory-room.ts'
import type { Part } from './node-sets.ts'

const weights = { nodeDistance: 2, deviceDistance: 3, memoryDistance: 3, imbalance: 5, nodeUse: 20 } as const
const near = 10

/** The terms of the nodes that carry the parts of a VM; `rooms` are their free threads before. */
export function nodeCosts(
  places: readonly Part[],
  rooms: readonly number[],
  attempt: Attempt,
): readonly CostTerm[] {
  const nodes = places.map(({ node }) => node)
  return [
    spanCost(nodes, attempt),
    ...deviceCosts(nodes, attempt),
    ...places.flatMap((place, index) => [
      memoryCost(place, attempt),
      balanceCost(place, rooms[index] ?? 0, attempt),
      useCost(place, rooms[index] ?? 0, attempt),
    ]),
  ].filter((term) => term !== undefined)
}

function spanCost(nodes: readonly MapNode[], { room }: Attempt): CostTerm | undefined {
  const ways = nodes.flatMap((a, index) =>
    nodes.slice(index + 1).map((b) => room.map.distance(a.node, b.node)),
  )
  if (ways.length === 0) return undefined
  const mean = ways.reduce((sum, way) => sum + way, 0) / ways.length
  return { what: `its nodes are ${round(mean)} apart (10 is near)`, cost: round(weights.nodeDistance * mean) }
}

function deviceCosts(nodes: readonly MapNode[], { request, host, room }: Attempt): readonly CostTerm[] {
  return request.devices.flatMap((address) => {
    const at = host.topology.pciDevices.find((device) => device.address === address)?.node
    if (at === undefined) return []
    const way = Math.min(...nodes.map(({ node }) => room.map.distance(node, at)))
    if (way <= near) return []
    return [
      {
        what: `device ${address} is at node ${at}, ${way} away`,
        cost: weights.deviceDistance * (way - near),
      },
    ]
  })
}

function memoryCost({ node }: Part, { room, bindMemory }: Attempt): CostTerm | undefined {
  if (!bindMemory || node.memoryNode === node.node) return undefined
  const way = room.map.distance(node.node, node.memoryNode)
  return {
    what: `node ${node.node} has no memory, and that of node ${node.memoryNode} is ${way} away`,
    cost: weights.memoryDistance * (way - near),
  }
}

/** A node that runs out of CPUs before memory, or of memory before CPUs, strands what is left. */
function balanceCost(part: Part, slots: number, { host, room }: Attempt): CostTerm | undefined {
  const { node, vcpus, memoryBytes } = part
  const threads = node.cores.flatMap(({ cpus }) => cpus).length
  const memory = host.topology.nodes.find((candidate) => candidate.node === node.memoryNode)?.memoryBytes
  const has = memoryRoom(node.memoryNode, { host, occupancy: room.occupancy })
  if (memory === undefined || memory === 0 || has === undefined || threads === 0) return undefined
  const cpuLeft = Math.max(0, slots - vcpus) / threads
  const memoryLeft = Math.max(0, has - memoryBytes) / memory
  return {
    what: `leaves node ${node.node} with ${percent(cpuLeft)} of its threads and ${percent(memoryLeft)} of its memory`,
    cost: round(weights.imbalance * Math.abs(cpuLeft - memoryLeft)),
  }
}

/** Packing goes to the fullest node; the others to the emptiest, where memory bandwidth is left. */
function useCost({ node, vcpus }: Part, slots: number, { room }: Attempt): CostTerm | undefined {
  const threads = node.cores.flatMap(({ cpus }) => cpus).length
  if (threads === 0) return undefined
  const free = Math.max(0, slots - vcpus) / threads
  return room.mode === 'pack'
    ? {
        what: `node ${node.node} is ${percent(free)} free then, a hole that was larger`,
        cost: round(weights.nodeUse * free),
      }
    : {
        what: `node ${node.node} is ${percent(1 - free)} taken then`,
        cost: round(weights.nodeUse * (1 - free)),
      }
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
