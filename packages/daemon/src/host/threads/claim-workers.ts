/**
 * Whose the workers of an emulator are. QEMU names vCPUs and I/O threads; a pool's worker is nobody's by name, but it is born where the
 * thread is that has the pool (util/thread-pool.c), and goes when it was idle for ten seconds. So one that is where an I/O thread is
 * counts as that one's; any other as the emulator's.
 */
import { formatCpuList } from '@kvasir/contract'
import { cpusOf, type ThreadPlan, type ThreadRole } from '../../model/placement/plan-threads.ts'
import type { SeenThread } from './emulator-threads.ts'

/** What QEMU calls each of them, with `debug-threads=on`. */
const workerName = 'worker'

/** The threads with the roles of those whom they work for. `child` is the cgroup of a role, where the VM's is divided. */
export function claimWorkers(
  seen: readonly SeenThread[],
  {
    plan,
    child,
  }: { readonly plan: ThreadPlan; readonly child: ((role: ThreadRole) => string | undefined) | undefined },
): readonly SeenThread[] {
  const owners = seen.filter(({ role }) => role.kind === 'io')
  return seen.map((thread) => {
    const isWorker = thread.role.kind === 'emulator' && thread.report.name === workerName
    const owner = isWorker ? owners.find(({ role }) => isWhere(thread, role)) : undefined
    return owner === undefined ? thread : { ...thread, role: owner.role }
  })

  function isWhere({ cgroup, report }: SeenThread, role: ThreadRole): boolean {
    if (child !== undefined) return cgroup.endsWith(`/${child(role)}`)
    return report.allowedList === formatCpuList(cpusOf(plan, role))
  }
}
