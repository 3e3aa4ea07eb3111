/** The memory of processes as the kernel counts it (proc(5), smaps_rollup): shared pages are split among those who share them. */
import { readdirSync, readFileSync } from 'node:fs'

/** The proportional set size of a process in MiB; 0 when it has ended. */
export function pssMib(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

/** The processes whose cgroup has a part in its path. */
export function processesBelow(cgroup: string): readonly number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => groupsOf(pid).includes(`/${cgroup}/`)).map(Number)
}

/** The name of a process's program, as in /proc/PID/comm. */
export function programOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

function groupsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8')
  } catch {
    return ''
  }
}
