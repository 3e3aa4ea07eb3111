/** Kvasir's planner and Nova's default as policies of the simulation, on the same CPUs: those of the core that is kept for the host are out for both. */
import { planPlacement } from '@kvasir/daemon/model/placement/plan-placement'
import { placeLikeNova } from './nova-placement.ts'
import { keptCpus, type Place, type Policy, simulatedHost } from './placement-simulation.ts'

/** Kvasir: every VM is dedicated, with `numa: auto`. */
export function kvasirPolicy(): Policy {
  return (vm, there) => {
    const decision = planPlacement(
      {
        vm: vm.name,
        placement: 'dedicated',
        numa: 'auto',
        vcpus: vm.vcpus,
        memoryBytes: vm.memoryBytes,
        ioThreads: [],
        devices: [],
      },
      { topology: simulatedHost, holdings: there.map(holdingOf) },
    )
    if (decision.kind !== 'placed') return undefined
    const { vcpus, memoryNodes = [] } = decision.plan.threads
    return {
      vm,
      cpus: vcpus.flatMap(({ cpus }) => cpus),
      memory: memoryNodes.map((node) => ({ node, bytes: vm.memoryBytes / memoryNodes.length })),
    }
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
