/** Why changes wait for the next boot, for a VM that runs: what a plan of them would say now. */
import type { VmStatus } from '@kvasir/contract'
import { planChanges } from '../../model/vm/plan-changes.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { situationOf } from './situation.ts'

/** Whether a thread is pinned that the emulator was started without, since the spec did not ask for it. */
export function pinsWait({ spec, run }: Pick<VmRecord, 'spec' | 'run'>): boolean {
  const pinned = spec.cpu.pin?.ioThreads ?? {}
  const plugged = run?.emulator.plan.ids.disks ?? {}
  return spec.disks.some(
    ({ name, ioThread }) =>
      ioThread === undefined && pinned[name] !== undefined && plugged[name] && !plugged[name].ioThread,
  )
}

/** The fields that wait, with the reasons that are known. One that could change now and did not (a guest that lets nothing go) has none. */
export function waitingStatus(
  record: VmRecord,
  fields: readonly string[],
  ports: Pick<Ports, 'store' | 'host'>,
): Pick<VmStatus, 'restartNeeded' | 'restartReasons'> {
  const { run, spec } = record
  if (!run || fields.length === 0) return { restartNeeded: [...fields] }
  const reasons = planChanges(run.bootedSpec, spec, situationOf(record, ports))
    .filter(({ field, effect }) => effect === 'next-boot' && fields.includes(field))
    .map(({ field, reason }) => [field, reason] as const)
  return {
    restartNeeded: [...fields],
    ...(reasons.length > 0 ? { restartReasons: Object.fromEntries(reasons) } : {}),
  }
}
