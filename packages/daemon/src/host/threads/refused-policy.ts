/**
 * Why the kernel does not let a thread have a scheduling policy. It says only EPERM or EINVAL; what stands behind it is looked up.
 *
 * Facts: sched(7); the kernel's Documentation/scheduler/sched-rt-group.rst.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { readMounts, type SchedulerPolicy } from '@kvasir/linux'

const sysNice = 1n << 23n

/** What a refusal may come from. */
export interface PolicyFacts {
  /** Whether this process has CAP_SYS_NICE. */
  readonly mayRaise: boolean
  /** RLIMIT_RTPRIO, which counts only without the capability. */
  readonly limit: number
  /** Microseconds of each period that real-time threads may run on this host; -1 is all. */
  readonly hostRuntime: number | undefined
  /** The same for the v1 cpu group of this process, where the kernel shares real-time time out to groups. */
  readonly group: { readonly path: string; readonly runtime: number } | undefined
}

/** The error for a policy that was refused. */
export async function explainRefusal(
  name: string,
  refused: { readonly policy: SchedulerPolicy; readonly errno: number },
): Promise<KvasirError> {
  const why = whyRefused(await readFacts())
  return new KvasirError(
    'unsupported',
    `The vCPUs of VM ${name} cannot run under the policy ${refused.policy}, because ${why}.`,
    { details: { policy: refused.policy, errno: refused.errno } },
  )
}

/** The reason, as a clause that can follow `because`. */
export function whyRefused({ mayRaise, limit, hostRuntime, group }: PolicyFacts): string {
  if (hostRuntime === 0) return 'this host gives real-time threads no time (kernel.sched_rt_runtime_us is 0)'
  if (group?.runtime === 0)
    return `the cgroup ${group.path} gives real-time threads no time (its cpu.rt_runtime_us is 0)`
  if (!mayRaise)
    return `the daemon lacks CAP_SYS_NICE, and its RLIMIT_RTPRIO allows priorities up to ${limit}`
  return 'the kernel shares real-time time out to cgroups (CONFIG_RT_GROUP_SCHED), and that of the VM has none'
}

async function readFacts(): Promise<PolicyFacts> {
  const [status, limits, hostRuntime, group] = await Promise.all([
    readFile('/proc/self/status', 'utf8'),
    readFile('/proc/self/limits', 'utf8'),
    readNumber('/proc/sys/kernel/sched_rt_runtime_us'),
    readGroup(),
  ])
  return {
    mayRaise: (BigInt(`0x${/^CapEff:\s+(\S+)/m.exec(status)?.[1] ?? '0'}`) & sysNice) !== 0n,
    limit: Number(/^Max realtime priority\s+(\d+)/m.exec(limits)?.[1] ?? 0),
    hostRuntime,
    group,
  }
}

async function readGroup(): Promise<PolicyFacts['group']> {
  const [mounts, cgroups] = await Promise.all([readMounts('self'), readFile('/proc/self/cgroup', 'utf8')])
  const mount = mounts.find((one) => one.fileSystem === 'cgroup' && one.superOptions.includes('cpu'))
  const path = /^\d+:(?:[^:\n]*,)?cpu(?:,[^:\n]*)?:(.*)$/m.exec(cgroups)?.[1]
  if (mount === undefined || path === undefined || path.includes('..')) return undefined
  const runtime = await readNumber(join(mount.mountPoint, path, 'cpu.rt_runtime_us'))
  return runtime === undefined ? undefined : { path, runtime }
}

async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return /^-?\d+\s*$/.test(text) ? Number(text) : undefined
}
