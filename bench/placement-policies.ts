/** Kvasir's planner and Nova's default as policies of the simulation, on the same CPUs: those of the core that is kept for the host are out for both. */
import type { PlacementPlan } from '@kvasir/contract'
import { planWithMoves } from '@kvasir/daemon/model/placement/plan-moves'
import { planPlacement } from '@kvasir/daemon/model/placement/plan-placement'
import type { PlacementRequest } from '@kvasir/daemon/model/placement/request'
import { placeLikeNova } from './nova-placement.ts'
import { type Arrival, keptCpus, type Place, type Policy, simulatedHost } from './placement-simulation.ts'

/** Kvasir: every VM is dedicated, with `numa: auto`, and stays where it was put. */
export function kvasirPolicy(): Policy {
  return (vm, there) => {
    const decision = planPlacement(requestOf(vm), { topology: simulatedHost, holdings: there.map(holdingOf) })
    return decision.kind === 'placed' ? placeOf(vm, decision.plan) : undefined
  }
}

/** Kvasir with `placementMoves: all`: a VM that runs is moved within its node when that makes room for the one that comes. */
export function movingPolicy(): Policy {
  const plans = new Map<string, PlacementPlan>()
  return (vm, there) => {
    const movers = there.flatMap(({ vm: other }) => {
      const plan = plans.get(other.name)
      return plan === undefined ? [] : [{ request: requestOf(other), plan }]
    })
    const host = { topology: simulatedHost, holdings: there.map(holdingOf) }
    const { decision, moves } = planWithMoves(requestOf(vm), host, movers)
    if (decision.kind !== 'placed') return undefined
    plans.set(vm.name, decision.plan)
    const moved = moves.flatMap(({ vm: name, plan }) => {
      const other = there.find((place) => place.vm.name === name)?.vm
      plans.set(name, plan)
      return other === undefined ? [] : [placeOf(other, plan)]
    })
    return { ...placeOf(vm, decision.plan), moved }
  }
}

function requestOf({ name, vcpus, memoryBytes }: Arrival): PlacementRequest {
  return { vm: name, placement: 'dedicated', numa: 'auto', vcpus, memoryBytes, ioThreads: [], devices: [] }
}

function placeOf(vm: Arrival, { threads }: PlacementPlan): Place {
  const { vcpus, memoryNodes = [] } = threads
  return {
    vm,
    cpus: vcpus.flatMap(({ cpus }) => cpus),
    memory: memoryNodes.map((node) => ({ node, bytes: vm.memoryBytes / memoryNodes.length })),
  }
}

function holdingOf({ vm, cpus, memory }: Place) {
  return { vm: vm.name, dedicated: cpus, shared: [], helpers: [], memory }
}

/** Nova's default. */
export function novaPolicy(): Policy {
  const kept = new Set(keptCpus)
  return (vm, there) => {
    const held = new Set(there.flatMap(({ cpus }) => cpus))
    const parts = there.flatMap(({ memory }) => memory)
    const nodes = simulatedHost.nodes.map(({ node, memoryBytes = 0 }) => ({
      cores: simulatedHost.cores
        .filter((core) => core.node === node)
        .map(({ cpus }) => cpus.filter((cpu) => !kept.has(cpu))),
      freeMemoryBytes:
        memoryBytes - parts.filter((part) => part.node === node).reduce((sum, { bytes }) => sum + bytes, 0),
    }))
    const found = placeLikeNova(vm, nodes, (cpu) => !held.has(cpu))
    if (found === undefined) return undefined
    return { vm, cpus: found.cpus, memory: [{ node: found.node, bytes: vm.memoryBytes }] }
  }
}
