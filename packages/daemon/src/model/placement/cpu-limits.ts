/**
 * Shares of CPU time and sets of CPUs as files of cgroup v2, and what a host without its controllers cannot hold of them.
 *
 * Format: the kernel's Documentation/admin-guide/cgroup-v2.rst, "CPU" and "Cpuset".
 */
import { formatCpuList, type VmSpec } from '@kvasir/contract'
import type { CpuShare } from './plan-threads.ts'

/** The length of time over which a quota counts: 100 ms, the kernel's own default. */
const periodMicroseconds = 100_000
const defaultWeight = 100

/** What is written to a group, and which of it was asked for: the rest takes back what may have been there before. */
export interface CpuLimits {
  readonly files: Readonly<Record<string, string>>
  readonly asked: readonly string[]
}

/** The files of a group; without CPUs it has those of its parent. */
export function cpuLimits(share: CpuShare, cpus: readonly number[] | undefined): CpuLimits {
  const { weight, quotaPercent } = share
  const quota = quotaPercent === undefined ? 'max' : String((quotaPercent * periodMicroseconds) / 100)
  return {
    files: {
      'cpu.weight': String(weight ?? defaultWeight),
      'cpu.max': `${quota} ${periodMicroseconds}`,
      'cpuset.cpus': `${formatCpuList(cpus ?? [])}\n`,
    },
    asked: [
      ...(weight === undefined ? [] : ['cpu.weight']),
      ...(quotaPercent === undefined ? [] : ['cpu.max']),
      ...(cpus === undefined ? [] : ['cpuset.cpus']),
    ],
  }
}

/** What of a spec a host with these controllers of cgroup v2 cannot enforce, in sentences. */
export function unenforceable(cpu: VmSpec['cpu'], controllers: readonly string[]): readonly string[] {
  const sentences: string[] = []
  const without = (controller: string) => `the host's cgroup v2 has no ${controller} controller`
  if (!controllers.includes('cpu')) {
    const asked = [
      ...(cpu.weight === undefined ? [] : [`its weight ${cpu.weight}`]),
      ...(cpu.quotaPercent === undefined ? [] : [`its quota of ${cpu.quotaPercent} % of a CPU`]),
      ...(hasShares(cpu) ? ['the weights and quotas of its threads'] : []),
    ]
    for (const what of asked)
      sentences.push(`Of this VM, ${what} is not enforced, because ${without('cpu')}.`)
  }
  const confines = cpu.cpus !== undefined || cpu.pin !== undefined
  if (confines && !controllers.includes('cpuset'))
    sentences.push(
      `Of this VM, threads are kept on their CPUs by affinity alone, because ${without('cpuset')}.`,
    )
  return sentences
}

function hasShares({ threadLimits }: VmSpec['cpu']): boolean {
  return Object.values(threadLimits ?? {}).some((share) => Object.keys(share ?? {}).length > 0)
}
