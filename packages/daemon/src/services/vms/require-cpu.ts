/** Whether the host can give a VM the CPU of its spec. A VM with the host's own CPU is not held up by the question. */
import { KvasirError } from '@kvasir/contract'
import type { Extension } from '../../model/cpu/cpu-model.ts'
import { isPlainCpu, requireOffered, requireStartable } from '../../model/cpu/judge-cpu.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

type Named = Pick<VmRecord, 'name' | 'spec'>

/** Refuses a CPU with which a VM cannot be started. Answers the extension for nested virtualization where it matters. */
export async function requireCpu(
  { name, spec }: Named,
  accelerator: 'kvm' | 'tcg',
  ports: Ports,
): Promise<Extension | undefined> {
  if (isPlainCpu(spec.cpu)) return undefined
  const offer = await ports.host.cpuOffer(accelerator)
  const lacking = requireStartable(name, spec.cpu, offer)
  if (lacking.length > 0)
    ports.log.warn(
      { vm: name, model: spec.cpu.model, lacking },
      'a guest has less of a CPU than its spec says',
    )
  return offer.extension
}

/**
 * Refuses a CPU that a guest would not get whole, when it is asked for. Where its accelerator cannot be had at the moment, its start
 * will judge.
 */
export async function requireCpuHere({ name, spec }: Named, ports: Ports): Promise<void> {
  if (isPlainCpu(spec.cpu)) return
  try {
    const { kind } = await ports.host.chooseAccelerator(spec.accelerator)
    requireOffered(name, spec.cpu, await ports.host.cpuOffer(kind))
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'accelerator-unavailable') return
    throw error
  }
}
