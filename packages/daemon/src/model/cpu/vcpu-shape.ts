/**
 * How many vCPUs a VM has, how many it can grow to, and how these make up sockets, dies, cores and threads.
 *
 * A topology is that of all the vCPUs that can ever be (QEMU: the product of -smp is maxcpus). Slots are filled in its order: thread
 * by thread, core by core; so the first `count` of them are there, and the last one goes first.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'

export interface VcpuShape {
  /** vCPUs at boot. */
  readonly count: number
  /** vCPUs that there can be. */
  readonly max: number
  readonly sockets: number
  readonly dies: number
  readonly cores: number
  readonly threads: number
}

type Shaped = Pick<VmSpec, 'cpu' | 'machine'>

/** The shape of a VM's vCPUs. Refuses with `bad-request` numbers at odds, with `unsupported` what its machine cannot do. */
export function requireShape(name: string, { cpu, machine }: Shaped): VcpuShape {
  const { count } = cpu
  const max = cpu.max ?? count
  if (count > max) {
    throw new KvasirError(
      'bad-request',
      `VM ${name} cannot have ${count} vCPUs, because its cpu.max is ${max}; raise cpu.max too, which counts from its next boot on.`,
      { details: { field: 'cpu.count', max } },
    )
  }
  if (max > count && machine.type === 'microvm') {
    throw new KvasirError(
      'unsupported',
      `The machine microvm plugs no vCPUs, so VM ${name} cannot have a cpu.max above its count.`,
      { details: { field: 'cpu.max' } },
    )
  }
  const { sockets, dies, cores, threads } = cpu.topology ?? { sockets: 1, dies: 1, cores: max, threads: 1 }
  const product = sockets * dies * cores * threads
  if (product !== max) {
    const what = cpu.max === undefined ? 'count' : 'cpu.max'
    throw new KvasirError(
      'bad-request',
      `The CPU topology of VM ${name} makes ${product} vCPUs (${sockets} sockets x ${dies} dies x ${cores} cores x ${threads} threads), but its ${what} is ${max}, so it cannot start.`,
      { details: { field: 'cpu.topology' } },
    )
  }
  if (dies > 1 && machine.type === 'microvm') {
    throw new KvasirError(
      'unsupported',
      'The machine microvm knows no dies, so a topology with dies cannot run on it.',
    )
  }
  return { count, max, sockets, dies, cores, threads }
}
