/**
 * What a placement changes of the way an emulator is started: the nodes of its memory, the siblings and nodes that the guest is shown.
 *
 * What the spec says itself outranks it: its own nodes of memory, its own topology.
 */
import type { PlacementPlan } from '@kvasir/contract'
import type { HardwareInput } from '../qemu/hardware.ts'

/** The input of a start that is placed by a plan. */
export function placedInput(input: HardwareInput, plan: PlacementPlan): HardwareInput {
  const { spec } = input
  const { guest, threads } = plan
  const spans = guest !== undefined && guest.nodes.length > 0
  const most = spec.cpu.max ?? spec.cpu.count
  const isShown = guest !== undefined && spec.cpu.topology === undefined
  const topology =
    isShown && guest.sockets * guest.cores * guest.threads === most
      ? { sockets: guest.sockets, dies: 1, cores: guest.cores, threads: guest.threads }
      : spec.cpu.topology
  const bound = spec.memory.nodes.length === 0 && threads.memoryNodes !== undefined
  return {
    ...input,
    spec: {
      ...spec,
      cpu: { ...spec.cpu, ...(topology === undefined ? {} : { topology }) },
      memory: bound
        ? { ...spec.memory, nodes: [...(threads.memoryNodes ?? [])], nodePolicy: 'bind' }
        : spec.memory,
    },
    ...(spans ? { guestNodes: { nodes: guest.nodes, distances: guest.distances } } : {}),
  }
}
