/** Whether the host can give a VM the CPU of its spec. A VM with the host's own CPU is not held up by the question. */
import { KvasirError } from '@kvasir/contract'
import type { Extension } from '../../model/cpu/cpu-model.ts'
import { isPlainCpu, requireOffered } from '../../model/cpu/judge-cpu.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

type Named = Pick<VmRecord, 'name' | 'spec'>

/** Refuses a CPU that a guest would not get whole. Answers the extension for nested virtualization where it matters. */
export async function requireCpu(
  { name, spec }: Named,
  accelerator: 'kvm' | 'tcg',
  ports: Ports,
): Promise<Extension | undefined> {
  if (isPlainCpu(spec.cpu)) return undefined
  const offer = await ports.host.cpuOffer(accelerator)
  requireOffered(name, spec.cpu, offer)
  return offer.extension
}

/** The same for a VM that is not started now. Where its accelerator cannot be had at the moment, its start will judge. */
export async function requireCpuHere(vm: Named, ports: Ports): Promise<void> {
  if (isPlainCpu(vm.spec.cpu)) return
  try {
    const { kind } = await ports.host.chooseAccelerator(vm.spec.accelerator)
    await requireCpu(vm, kind, ports)
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'accelerator-unavailable') return
    throw error
  }
}
