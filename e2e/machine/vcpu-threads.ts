/** Where the vCPUs of a VM may run, as the kernel has it. */
import { readFile } from 'node:fs/promises'
import { eventually } from './eventually.ts'
import type { VmHandle } from './vm-handle.ts'

/** The host CPUs that each vCPU thread may run on, such as `0-1`, in the order of the vCPUs. */
export async function cpusOfVcpus(vm: VmHandle): Promise<readonly string[]> {
  // Who looks at a VM gets the last sample and causes the next.
  const { pid, vcpus } = await eventually(
    async () => {
      const { status } = await vm.show()
      return status.vcpus && { pid: status.pid, vcpus: status.vcpus }
    },
    { withinMs: 5_000, what: 'the vCPU threads' },
  )
  const texts = vcpus.map(({ threadId }) => readFile(`/proc/${pid}/task/${threadId}/status`, 'utf8'))
  return (await Promise.all(texts)).map((text) => /^Cpus_allowed_list:\s*(\S+)$/m.exec(text)?.[1] ?? '')
}
