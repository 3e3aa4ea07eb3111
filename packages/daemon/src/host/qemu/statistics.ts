/** What a running VM uses, from /proc and from QEMU's statistics monitor, without disturbing its vCPUs (kvm-facts: no query-stats). */
import { readFile } from 'node:fs/promises'
import { KvasirError } from '@kvasir/contract'
import { parseMergedBytes } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import type { PluggedMemory } from '../../ports/emulator-memory.ts'
import type { BlockCounters, EmulatorRecord, EmulatorStatistics } from '../../ports/emulators.ts'
import type { BalloonReports } from './guest-memory.ts'

const queryTimeoutMs = 1_000
/** USER_HZ of every Linux that runs KVM. */
const ticksPerSecond = 100

export interface VcpuThread {
  readonly index: number
  readonly threadId: number
}

/** What statistics are read from. */
export interface StatisticsSources {
  readonly vcpus: readonly VcpuThread[]
  readonly monitor: () => Promise<QmpClient>
  /** Undefined without a balloon. */
  readonly reports: BalloonReports | undefined
  readonly plugged: () => Promise<PluggedMemory | undefined>
}

/** Reads the counters of an emulator. What QEMU does not answer in time is left out. */
export async function readStatistics(
  record: EmulatorRecord,
  { vcpus, monitor, reports, plugged }: StatisticsSources,
): Promise<EmulatorStatistics> {
  const [[status, process], threads, ksm, fromQemu, guestMemory, pluggedNow] = await Promise.all([
    readProcess(record.pid),
    Promise.all(vcpus.map((vcpu) => readThread(record.pid, vcpu))),
    readFile(`/proc/${record.pid}/ksm_stat`, 'utf8').catch(() => ''),
    queryQemu(record, monitor).catch(() => ({ disks: [], balloonBytes: undefined })),
    reports &&
      monitor()
        .then((client) => reports.read(client))
        .catch(() => undefined),
    plugged().catch(() => undefined),
  ])
  const merged = parseMergedBytes(ksm)
  const kibibytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0)
  return {
    // Resident size leaves hugetlb pages out (Documentation/filesystems/proc.rst).
    residentBytes: (kibibytes('VmRSS') + kibibytes('HugetlbPages')) * 1024,
    cpuSeconds: process.cpuSeconds,
    swappedBytes: kibibytes('VmSwap') * 1024,
    ksmBytes: merged,
    plugged: pluggedNow,
    guestMemory,
    vcpus: threads.filter((thread) => thread !== undefined),
    ...fromQemu,
  }
}

async function readProcess(pid: number) {
  try {
    return await Promise.all([readFile(`/proc/${pid}/status`, 'utf8'), readStat(`/proc/${pid}/stat`)])
  } catch (cause) {
    throw new KvasirError('emulator-unresponsive', `The emulator (pid ${pid}) is gone, so it uses nothing.`, {
      cause,
    })
  }
}

async function readThread(
  pid: number,
  vcpu: VcpuThread,
): Promise<EmulatorStatistics['vcpus'][number] | undefined> {
  const task = `/proc/${pid}/task/${vcpu.threadId}`
  try {
    const [stat, schedstat] = await Promise.all([
      readStat(`${task}/stat`),
      readFile(`${task}/schedstat`, 'utf8'),
    ])
    const waitNanoseconds = Number(schedstat.split(' ')[1] ?? 0)
    return { ...vcpu, cpuSeconds: stat.cpuSeconds, waitSeconds: waitNanoseconds / 1e9, lastCpu: stat.lastCpu }
  } catch {
    return undefined
  }
}

/** Fields 14, 15 and 39 of proc_pid_stat(5); the name in field 2 may hold blanks and parentheses. */
async function readStat(path: string): Promise<{ readonly cpuSeconds: number; readonly lastCpu: number }> {
  const text = await readFile(path, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  return { cpuSeconds: ticks / ticksPerSecond, lastCpu: Number(fields[36] ?? 0) }
}

async function queryQemu(
  record: EmulatorRecord,
  monitor: () => Promise<QmpClient>,
): Promise<Pick<EmulatorStatistics, 'disks' | 'balloonBytes'>> {
  const client = await monitor()
  const options = { timeoutMs: queryTimeoutMs }
  const [blocks, balloon] = await Promise.all([
    client.execute('query-blockstats', undefined, options),
    record.plan.ids.balloon === undefined ? undefined : client.execute('query-balloon', undefined, options),
  ])
  const disks: BlockCounters[] = []
  for (const [disk, ids] of Object.entries(record.plan.ids.disks)) {
    const found = blocks.find((block) => block.qdev?.split('/').includes(ids.device))
    if (!found) continue
    const { stats } = found
    disks.push({
      disk,
      readBytes: stats.rd_bytes,
      writtenBytes: stats.wr_bytes,
      readRequests: stats.rd_operations,
      writeRequests: stats.wr_operations,
      flushRequests: stats.flush_operations,
    })
  }
  return { disks, balloonBytes: balloon?.actual }
}
