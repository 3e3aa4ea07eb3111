/** The CPU: its model with its flags, and the shape of its vCPUs, those that can be plugged later included. */
import { decideModel } from '../cpu/cpu-model.ts'
import { requireShape } from '../cpu/vcpu-shape.ts'
import type { HardwareInput } from './hardware.ts'
import { keyValues } from './options.ts'

/** The arguments for the CPU model and the topology. Refuses `host` under TCG and a topology of another count. */
export function cpuArgs(input: HardwareInput): readonly string[] {
  const { name, spec, accelerator } = input
  const { model, flags } = decideModel({ name, cpu: spec.cpu, accelerator, extension: input.extension })
  const { count, max, sockets, dies, cores, threads } = requireShape(name, spec)
  return [
    '-cpu',
    keyValues(model, flags),
    '-smp',
    keyValues(undefined, { cpus: count, sockets, dies, cores, threads, maxcpus: max }),
  ]
}
