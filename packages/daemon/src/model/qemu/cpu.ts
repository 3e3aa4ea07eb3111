/**
 * The CPU: its model, flags and topology.
 *
 * `auto` is the host's own CPU under KVM and QEMU's `max` under TCG. Hot-plugging comes later: as many vCPUs as can ever be.
 */
import { KvasirError } from '@kvasir/contract'
import type { HardwareInput } from './hardware.ts'
import { keyValues } from './options.ts'

/** The arguments for the CPU model and the topology. Refuses `host` under TCG and a topology of another count. */
export function cpuArgs(input: HardwareInput): readonly string[] {
  return ['-cpu', keyValues(cpuModel(input), cpuFlags(input)), '-smp', keyValues(undefined, topology(input))]
}

/** The CPU model that a start uses: the spec's, or what `auto` stands for. */
function cpuModel(input: Pick<HardwareInput, 'spec' | 'accelerator'>): string {
  const { model } = input.spec.cpu
  if (model === 'auto') return input.accelerator === 'kvm' ? 'host' : 'max'
  if (model === 'host' && input.accelerator !== 'kvm') {
    throw new KvasirError(
      'accelerator-unavailable',
      'The CPU model host needs KVM, but the VM would run under TCG, so it cannot start.',
    )
  }
  return model
}

function cpuFlags(input: HardwareInput): Readonly<Record<string, boolean>> {
  // TCG's max has 5-level paging, with which the monitor's `info mem` hangs for half a minute (QEMU 7.2).
  const defaults = cpuModel(input) === 'max' ? { la57: false } : {}
  const asked = Object.entries(input.spec.cpu.features).sort(([a], [b]) => (a < b ? -1 : 1))
  return { ...defaults, ...Object.fromEntries(asked) }
}

function topology(input: HardwareInput): Readonly<Record<string, number>> {
  const { count, topology: asked } = input.spec.cpu
  const { sockets, dies, cores, threads } = asked ?? { sockets: 1, dies: 1, cores: count, threads: 1 }
  if (sockets * dies * cores * threads !== count) {
    throw new KvasirError(
      'bad-request',
      `The CPU topology of VM ${input.name} makes ${sockets * dies * cores * threads} vCPUs, but its count is ${count}, so it cannot start.`,
      { details: { field: 'cpu.topology' } },
    )
  }
  if (dies > 1 && input.spec.machine.type === 'microvm') {
    throw new KvasirError(
      'unsupported',
      'The machine microvm knows no dies, so a topology with dies cannot run on it.',
    )
  }
  return { cpus: count, sockets, dies, cores, threads, maxcpus: count }
}
