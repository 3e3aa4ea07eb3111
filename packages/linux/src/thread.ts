/**
 * One thread as the kernel schedules it: what /proc says of its CPUs, its policy and its time, and setting the first two.
 *
 * Setting takes one short-lived perl for any number of threads, since Node has no call for it. Facts: proc_pid_stat(5),
 * proc_pid_status(5), sched(7); schedstat: the kernel's Documentation/scheduler/sched-stats.rst.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseCpuList } from './machine/cpu-list.ts'
import { runCommand } from './run-command.ts'

/** The numbers of the policies (linux/sched.h). */
const policyNumbers = { other: 0, fifo: 1, rr: 2, batch: 3, idle: 5 } as const

export type SchedulerPolicy = keyof typeof policyNumbers

/** How a thread is scheduled, and how it was. */
export interface ThreadReport {
  readonly name: string
  readonly cpuSeconds: number
  /** Time in which it could have run and had no CPU. */
  readonly waitSeconds: number
  readonly lastCpu: number
  /** The CPUs it may run on, as the kernel writes them and as numbers. */
  readonly allowedList: string
  readonly allowedCpus: readonly number[]
  /** Undefined for one that is not in the table, such as `deadline`. */
  readonly policy: SchedulerPolicy | undefined
  /** From 1 for the real-time policies, else 0. */
  readonly priority: number
}

/** A change of one thread; what is absent stays. */
export interface ThreadSettings {
  readonly threadId: number
  readonly cpus?: readonly number[] | undefined
  readonly policy?: SchedulerPolicy | undefined
  /** Only the real-time policies take one above 0. */
  readonly priority?: number
}

/** What the kernel refused; the number is that of errno.h. */
export interface RefusedSetting {
  readonly threadId: number
  readonly what: 'affinity' | 'policy'
  readonly errno: number
}

const program = join(import.meta.dirname, 'set-threads.pl')
const setTimeoutMs = 5_000

/** Reads what is known of a thread; undefined when it has ended. */
export async function readThread(pid: number, threadId: number): Promise<ThreadReport | undefined> {
  const task = `/proc/${pid}/task/${threadId}`
  try {
    const [stat, schedstat, status] = await Promise.all([
      readFile(`${task}/stat`, 'utf8'),
      readFile(`${task}/schedstat`, 'utf8').catch(() => undefined),
      readFile(`${task}/status`, 'utf8'),
    ])
    return parseThread({ stat, schedstat, status })
  } catch {
    return undefined
  }
}

/** USER_HZ of every Linux that runs KVM. */
const ticksPerSecond = 100

/** Parses the files of a thread. Without schedstat, CPU time is exact to ticks only and waiting is not known, so 0. */
export function parseThread(files: {
  readonly stat: string
  readonly schedstat: string | undefined
  readonly status: string
}): ThreadReport {
  // The name in field 2 may hold blanks and parentheses, so fields count from the last one: `field(3)` is the state.
  const nameEnd = files.stat.lastIndexOf(')')
  const fields = files.stat.slice(nameEnd + 2).split(' ')
  const field = (number: number) => Number(fields[number - 3] ?? 0)
  const [onCpu, waiting] = (files.schedstat ?? '').split(' ').map(Number)
  const allowedList = /^Cpus_allowed_list:\s+(\S+)/m.exec(files.status)?.[1] ?? ''
  return {
    name: files.stat.slice(files.stat.indexOf('(') + 1, nameEnd),
    cpuSeconds: files.schedstat === undefined ? (field(14) + field(15)) / ticksPerSecond : (onCpu ?? 0) / 1e9,
    waitSeconds: (waiting ?? 0) / 1e9,
    lastCpu: field(39),
    allowedList,
    allowedCpus: parseCpuList(allowedList) ?? [],
    policy: policyOf(field(41)),
    priority: field(40),
  }
}

function policyOf(number: number): SchedulerPolicy | undefined {
  const names: readonly SchedulerPolicy[] = ['other', 'fifo', 'rr', 'batch', 'idle']
  return names.find((name) => policyNumbers[name] === number)
}

/** Sets affinity and policy of threads of any processes. Returns what was refused; a thread that has ended is left out. */
export async function setThreads(settings: readonly ThreadSettings[]): Promise<readonly RefusedSetting[]> {
  if (settings.length === 0) return []
  const { stdout } = await runCommand(['perl', program, process.arch], {
    timeoutMs: setTimeoutMs,
    input: settings.map(line).join(''),
  })
  return stdout.split('\n').flatMap((text) => {
    const match = /^(\d+) (affinity|policy) (\d+)$/.exec(text)
    if (match === null) return []
    const what = match[2] === 'affinity' ? 'affinity' : 'policy'
    return [{ threadId: Number(match[1]), what, errno: Number(match[3]) }]
  })
}

function line({ threadId, cpus, policy, priority }: ThreadSettings): string {
  const mask = cpus === undefined ? '-' : maskOf(cpus)
  return `${threadId} ${mask} ${policy === undefined ? '-' : policyNumbers[policy]} ${priority ?? 0}\n`
}

/** A cpu_set_t of whole 64-bit words, which on little-endian machines is a plain row of bits. */
function maskOf(cpus: readonly number[]): string {
  const words = Math.floor(Math.max(0, ...cpus) / 64) + 1
  const bytes = new Uint8Array(words * 8)
  for (const cpu of cpus) bytes[cpu >> 3] = (bytes[cpu >> 3] ?? 0) | (1 << (cpu & 7))
  return Buffer.from(bytes).toString('hex')
}
