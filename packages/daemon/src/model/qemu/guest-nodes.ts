/**
 * The NUMA nodes of a guest that spans nodes of its host: each has its own memory, bound to the host node beneath it, its vCPUs, and
 * the distances of the host.
 *
 * Facts: qemu(1) on -numa (7.2). With memory backends on nodes the machine must name none; the nodes' sizes must add up to -m; vCPUs
 * that are in no node are put into the first, with a warning.
 */
import { formatCpuList, KvasirError } from '@kvasir/contract'
import type { HardwareInput } from './hardware.ts'
import { nodeBackendId } from './ids.ts'
import { memoryBackend } from './memory.ts'
import { jsonOption, keyValues } from './options.ts'

/** The arguments for nodes and their memory, none where the guest sees no nodes; refuses them with `unsupported` on a microvm, which knows none. */
export function guestNodeArgs(input: HardwareInput): readonly string[] {
  if (input.guestNodes === undefined) return []
  const { nodes, distances } = input.guestNodes
  const { spec, name } = input
  if (spec.machine.type === 'microvm')
    throw new KvasirError(
      'unsupported',
      `VM ${name} is a microvm, which knows no NUMA, but it would span nodes of the host; with cpu.numa off it can.`,
      { details: { field: 'cpu.numa' } },
    )
  const most = spec.cpu.max ?? spec.cpu.count
  const last = nodes.length - 1
  return [
    ...nodes.flatMap(({ node, memoryNode, memoryBytes }) => {
      const asked = spec.memory.nodes
      const memory = { ...spec.memory, nodes: asked.length > 0 ? asked : [memoryNode] }
      return jsonOption(
        '-object',
        memoryBackend({ ...spec, memory }, { id: nodeBackendId(node), size: memoryBytes }),
      )
    }),
    ...nodes.flatMap(({ node, vcpus }, index) => {
      const plugged = Array.from(
        { length: index === last ? most - spec.cpu.count : 0 },
        (_, n) => spec.cpu.count + n,
      )
      return ['-numa', `${nodeCpus(node, [...vcpus, ...plugged])},memdev=${nodeBackendId(node)}`]
    }),
    ...distances.flatMap((row, src) =>
      row.flatMap((val, dst) => (src === dst ? [] : ['-numa', keyValues('dist', { src, dst, val })])),
    ),
  ]
}

/** Several ranges of vCPUs are several `cpus` of one node. */
function nodeCpus(nodeid: number, vcpus: readonly number[]): string {
  const ranges = formatCpuList(vcpus).split(',')
  return [keyValues('node', { nodeid }), ...ranges.map((range) => `cpus=${range}`)].join(',')
}
