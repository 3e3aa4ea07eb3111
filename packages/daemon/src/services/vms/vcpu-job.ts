/** The job that brings a VM's vCPUs to their target: begun by an edit, and by a daemon that finds one unfinished. */
import type { Job } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { setVcpus, vcpuDeadlineMs } from './set-vcpus.ts'

/** Begins the job for a VM whose row has a target. */
export function beginSetVcpus(driver: Driver, context: Context, owner: string): Job {
  const { record } = driver.view()
  return context.jobs.run(
    {
      kind: 'vm.set-vcpus',
      subject: { kind: 'vm', name: record.name, id: record.id },
      owner,
      deadlineMs: vcpuDeadlineMs(record.run?.bootedSpec.cpu.max ?? 1),
    },
    async (handle) => {
      const words = await setVcpus(driver, context.ports, {
        signal: handle.signal,
        onStep: (step) => handle.progress(step),
      })
      handle.outcome(words)
      return driver.view().record.name
    },
  )
}

/** Goes on with what a former daemon had begun on a VM, if it had. */
export function resumeSetVcpus(id: string, context: Context): void {
  const driver = context.drivers.get(id)
  const { record, emulator } = driver?.view() ?? {}
  if (!driver || !emulator || record?.run?.vcpuTarget === undefined) return
  if (!context.jobs.isUnderWay(['vm.set-vcpus'], id)) beginSetVcpus(driver, context, 'recovery')
}

/** Whether a VM has other vCPUs than its spec says, and nobody works on that: the guest kept some, or a daemon died. */
export function lacksVcpus({ id, spec, run }: VmRecord, context: Context): boolean {
  if (!run || run.bootedSpec.cpu.count === spec.cpu.count) return false
  return !context.jobs.isUnderWay(['vm.set-vcpus'], id)
}
