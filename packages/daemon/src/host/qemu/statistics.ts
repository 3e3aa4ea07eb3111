/** What a running VM uses, from /proc and from QEMU's statistics monitor, without disturbing its vCPUs (kvm-facts: no query-stats). */
import { readdir, readFile } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'
import { parseMergedBytes, readThread } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import { type NicCounters, nicCounters } from '../../model/network/link-counters.ts'
import { tapName } from '../../model/network/link-names.ts'
import type { PluggedMemory } from '../../ports/emulator-memory.ts'
import type { ThreadUse } from '../../ports/emulator-threads.ts'
import type { VcpuThread } from '../../ports/emulator-vcpus.ts'
import type { BlockCounters, EmulatorRecord, EmulatorStatistics } from '../../ports/emulators.ts'
import { ioThreadName, vhostName, vhostProcesses } from '../threads/emulator-threads.ts'
import { readBalloon, readBalloonReport } from './guest-memory.ts'
import { countLatency, latencyOf } from './latency.ts'

const queryTimeoutMs = 1_000
/** USER_HZ of every Linux that runs KVM. */
const ticksPerSecond = 100

/** What statistics are read from. */
export interface StatisticsSources {
  readonly vcpus: readonly VcpuThread[]
  readonly monitor: () => Promise<QmpClient>
  /** Undefined without a balloon. */
  readonly plugged: () => Promise<PluggedMemory | undefined>
  /** The VM's id, after which its taps are named. */
  readonly id: string
  /** The processes of its cgroup. */
  readonly beside: () => Promise<readonly number[]>
}

/** Reads the counters of an emulator. What QEMU does not answer in time is left out. */
export async function readStatistics(
  record: EmulatorRecord,
  { vcpus, monitor, plugged, id, beside }: StatisticsSources,
): Promise<EmulatorStatistics> {
  const [[status, cpuSeconds], threads, emulatorThread, ksm, fromQemu, guestMemory, pluggedNow] =
    await Promise.all([
      readProcess(record.pid),
      Promise.all(vcpus.map(({ index, threadId }) => useOf(record.pid, threadId, { index }))),
      useOf(record.pid, record.pid, {}),
      readFile(`/proc/${record.pid}/ksm_stat`, 'utf8').catch(() => ''),
      queryQemu(record, monitor).catch(() => ({ disks: [], balloonBytes: undefined, ioThreads: [] })),
      monitor()
        .then(readBalloonReport)
        .catch(() => undefined), // It has no balloon, or does not answer.
      plugged().catch(() => undefined),
    ])
  const merged = parseMergedBytes(ksm)
  const { ioThreads, ...counters } = fromQemu
  const hasVhost = Object.values(record.plan.ids.nics).some(({ vhost }) => vhost)
  const vhostThreads = hasVhost ? await vhostThreadsOf(record.pid, beside) : undefined
  const io = await Promise.all(ioThreads.map(({ disk, threadId }) => useOf(record.pid, threadId, { disk })))
  const kibibytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0)
  return {
    // Resident size leaves hugetlb pages out (Documentation/filesystems/proc.rst).
    residentBytes: (kibibytes('VmRSS') + kibibytes('HugetlbPages')) * 1024,
    cpuSeconds,
    swappedBytes: kibibytes('VmSwap') * 1024,
    ksmBytes: merged,
    plugged: pluggedNow,
    guestMemory,
    vcpus: threads.filter((thread) => thread !== undefined),
    emulatorThread,
    ioThreads: io.filter((thread) => thread !== undefined),
    vhostThreads,
    nics: await nicsOf(id, record),
    ...counters,
  }
}

async function readProcess(pid: number) {
  try {
    return await Promise.all([readFile(`/proc/${pid}/status`, 'utf8'), readCpuSeconds(`/proc/${pid}/stat`)])
  } catch (cause) {
    throw new KvasirError('emulator-unresponsive', `The emulator (pid ${pid}) is gone, so it uses nothing.`, {
      cause,
    })
  }
}

async function nicsOf(id: string, { plan }: EmulatorRecord): Promise<readonly NicCounters[]> {
  const taps = new Map(
    Object.entries(plan.ids.nics).map(([nic, { macvtap = false }]) => [
      tapName(id, nic),
      { nic, isMacvtap: macvtap },
    ]),
  )
  return taps.size === 0 ? [] : nicCounters(await readFile('/proc/self/net/dev', 'utf8'), taps)
}

async function vhostThreadsOf(
  pid: number,
  beside: StatisticsSources['beside'],
): Promise<readonly ThreadUse[]> {
  const ids = (await readdir(`/proc/${pid}/task`).catch(() => [])).map(Number)
  const reports = await Promise.all(ids.map((id) => readThread(pid, id)))
  const own = ids.filter((_, at) => reports[at]?.name === vhostName(pid))
  const workers = own.length > 0 ? own.map((id) => [pid, id] as const) : await ofKernel()
  const uses = await Promise.all(workers.map(([process, id]) => useOf(process, id, {})))
  return uses.filter((use) => use !== undefined)

  async function ofKernel() {
    const found = await vhostProcesses(pid, await beside())
    return found.map((id) => [id, id] as const)
  }
}

/** A thread that has ended uses nothing. */
async function useOf<T>(pid: number, threadId: number, who: T): Promise<(T & ThreadUse) | undefined> {
  const report = await readThread(pid, threadId)
  if (!report) return undefined
  const { cpuSeconds, waitSeconds, lastCpu, allowedList, priority } = report
  const policy = report.policy ?? 'unknown'
  return {
    ...who,
    threadId,
    cpuSeconds,
    waitSeconds,
    lastCpu,
    cpus: allowedList,
    policy: priority === 0 ? policy : `${policy}:${priority}`,
  }
}

/** Fields 14 and 15 of proc_pid_stat(5); the name in field 2 may hold blanks and parentheses. */
async function readCpuSeconds(path: string): Promise<number> {
  const text = await readFile(path, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  return ticks / ticksPerSecond
}

interface FromQemu extends Pick<EmulatorStatistics, 'disks' | 'balloonBytes'> {
  readonly ioThreads: readonly { readonly disk: string; readonly threadId: number }[]
}

async function queryQemu(record: EmulatorRecord, monitor: () => Promise<QmpClient>): Promise<FromQemu> {
  const client = await monitor()
  const options = { timeoutMs: queryTimeoutMs }
  const { ids } = record.plan
  const [blocks, ioThreads, balloon] = await Promise.all([
    client.execute('query-blockstats', undefined, options),
    ids.ioThreads.length === 0 ? [] : client.execute('query-iothreads', undefined, options),
    readBalloon(client, options),
  ])
  const disks: BlockCounters[] = []
  for (const [disk, { device }] of Object.entries(ids.disks)) {
    const found = blocks.find((block) => block.qdev?.split('/').includes(device))
    if (!found) continue
    const { stats } = found
    disks.push({
      disk,
      readBytes: stats.rd_bytes,
      writtenBytes: stats.wr_bytes,
      readRequests: stats.rd_operations,
      writeRequests: stats.wr_operations,
      flushRequests: stats.flush_operations,
      latency: latencyOf(found),
    })
    await countLatency(client, found).catch(() => undefined) // They are counted from another time on.
  }
  return {
    disks,
    balloonBytes: balloon,
    ioThreads: ioThreads.flatMap((thread) => {
      const disk = ioThreadName(Object.keys(ids.disks), thread.id)
      return disk === undefined ? [] : [{ disk, threadId: thread['thread-id'] }]
    }),
  }
}
