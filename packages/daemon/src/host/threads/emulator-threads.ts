/** The threads of one emulator and what each is for, from QEMU and /proc: vCPUs and I/O threads by name, the rest is the emulator's, but for vhost's. */
import { readdir, readFile } from 'node:fs/promises'
import { readThread, type ThreadReport } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import type { ThreadRole } from '../../model/placement/plan-threads.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import type { EmulatorRecord } from '../../ports/emulators.ts'

/** A thread and what it is for. */
export interface EmulatorThread {
  readonly pid: number
  readonly threadId: number
  readonly role: ThreadRole
}

/** A thread as it is at this moment. */
export interface SeenThread extends EmulatorThread {
  readonly report: ThreadReport
  /** The path of its cgroup v2, from the hierarchy's root. */
  readonly cgroup: string
}

/** What the threads are for that QEMU has names for, by thread id: vCPUs and I/O threads. */
export type ThreadNames = ReadonlyMap<number, ThreadRole>

/** Where an emulator's threads are looked for. */
export interface ThreadSource {
  readonly record: Pick<EmulatorRecord, 'pid' | 'plan'>
  readonly names: ThreadNames
  /** Processes beside the emulator that count as the VM's. */
  readonly helpers: readonly number[]
}

const ioPrefix = deviceId('io', '')

/** The worker that KVM makes in the first vCPU's place (Linux 6.12, kvm_mmu_start_lpage_recovery); the kernel's to schedule. */
const kvmWorker = 'kvm-nx-lpage-re'

/**
 * What vhost calls its workers: threads of the emulator since Linux 6.4 (vhost_task_create), before that threads of the kernel, which are in the
 * cgroup in which it was (drivers/vhost/vhost.c, vhost_worker_create).
 */
export function vhostName(pid: number): string {
  return `vhost-${pid}`
}

/** Which of these processes are vhost workers of an emulator. */
export async function vhostProcesses(pid: number, among: readonly number[]): Promise<readonly number[]> {
  const reports = await Promise.all(among.map((one) => readThread(one, one)))
  return among.filter((_, at) => reports[at]?.name === vhostName(pid))
}

/** All threads of an emulator as they are now, those of its helpers last. Threads that end meanwhile are left out. */
export async function seeThreads(source: ThreadSource): Promise<readonly SeenThread[]> {
  const { pid } = source.record
  const own = (await threadIds(pid)).map((threadId): EmulatorThread => {
    const role = source.names.get(threadId) ?? ({ kind: 'emulator' } as const)
    return { pid, threadId, role }
  })
  const helpers = await Promise.all(
    source.helpers.map(async (helper) =>
      (await threadIds(helper)).map(
        (threadId): EmulatorThread => ({ pid: helper, threadId, role: { kind: 'helper' } }),
      ),
    ),
  )
  const seen = await Promise.all([...own, ...helpers.flat()].map(seeThread))
  return seen
    .filter((thread) => thread !== undefined)
    .filter(({ report }) => !report.name.startsWith(kvmWorker))
    .map((thread) =>
      thread.report.name === vhostName(pid) ? { ...thread, role: { kind: 'vhost' } } : thread,
    )
}

async function seeThread(thread: EmulatorThread): Promise<SeenThread | undefined> {
  const [report, cgroup] = await Promise.all([
    readThread(thread.pid, thread.threadId),
    readFile(`/proc/${thread.pid}/task/${thread.threadId}/cgroup`, 'utf8').catch(() => ''),
  ])
  if (report === undefined) return undefined
  return { ...thread, report, cgroup: /^0::(.*)$/m.exec(cgroup)?.[1] ?? '' }
}

/** Asks QEMU for its vCPUs and I/O threads. */
export async function askThreadNames(
  monitor: QmpClient,
  { ids }: EmulatorRecord['plan'],
): Promise<ThreadNames> {
  const [cpus, ioThreads] = await Promise.all([
    monitor.execute('query-cpus-fast'),
    ids.ioThreads.length === 0 ? [] : monitor.execute('query-iothreads'),
  ])
  const named = new Map<number, ThreadRole>()
  for (const cpu of cpus) named.set(cpu['thread-id'], { kind: 'vcpu', index: cpu['cpu-index'] })
  for (const thread of ioThreads) {
    const disk = ioThreadName(Object.keys(ids.disks), thread.id)
    if (disk !== undefined) named.set(thread['thread-id'], { kind: 'io', disk })
  }
  return named
}

/** The name of the I/O thread with this id: of the disk that it belongs to, or that which disks share it by. */
export function ioThreadName(disks: readonly string[], id: string): string | undefined {
  const own = disks.find((disk) => deviceId('io', disk) === id)
  return own ?? (id.startsWith(ioPrefix) ? id.slice(ioPrefix.length) : undefined)
}

async function threadIds(pid: number): Promise<readonly number[]> {
  const names = await readdir(`/proc/${pid}/task`).catch(() => [])
  return names.map(Number)
}
