/**
 * Which CPUs this process, and what it starts, may use: those that exist, those that are online, those that its cpuset allows, and
 * those that it was given by default.
 *
 * The default may be smaller than what is allowed: `isolcpus` and a service manager's affinity keep ordinary programs away from CPUs
 * that are there for threads which ask for them by name. Facts: the kernel's Documentation/admin-guide/cputopology.rst, cgroup-v2.rst and
 * cgroup-v1/cpusets.rst.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseCpuList } from './machine/cpu-list.ts'
import { readMounts } from './proc.ts'

/** Sets of CPUs, ascending. */
export interface CpuSets {
  readonly present: readonly number[]
  readonly online: readonly number[]
  /** Online and not forbidden by a cpuset. */
  readonly allowed: readonly number[]
  /** What a program has that asks for nothing. */
  readonly inherited: readonly number[]
}

const cpuDirectory = '/sys/devices/system/cpu'

/** Reads the sets; `cgroup` is a cgroup v2 that programs are started in. Throws when the kernel does not say which CPUs are online. */
export async function readCpuSets(cgroup: string): Promise<CpuSets> {
  const [present, online, status, cpuset] = await Promise.all([
    readList(`${cpuDirectory}/present`),
    readList(`${cpuDirectory}/online`),
    readFile('/proc/self/status', 'utf8'),
    readCpuset(cgroup),
  ])
  if (online === undefined) throw new Error(`${cpuDirectory}/online cannot be read.`)
  const own = parseCpuList(/^Cpus_allowed_list:\s+(\S+)/m.exec(status)?.[1])
  const allowed = online.filter((cpu) => cpuset?.includes(cpu) ?? true)
  return {
    present: present ?? online,
    online,
    allowed,
    inherited: allowed.filter((cpu) => own?.includes(cpu) ?? true),
  }
}

/** What the cpuset controller leaves over: of the cgroup where v2 has it, else of this process's own v1 group. */
async function readCpuset(cgroup: string): Promise<readonly number[] | undefined> {
  const unified = await readList(join(cgroup, 'cpuset.cpus.effective'))
  if (unified !== undefined) return unified
  const mounts = await readMounts('self')
  const mount = mounts.find((one) => one.fileSystem === 'cgroup' && one.superOptions.includes('cpuset'))
  const path = (await readFile('/proc/self/cpuset', 'utf8').catch(() => '')).trim()
  if (mount === undefined || path === '' || path.includes('..')) return undefined
  const directory = join(mount.mountPoint, path)
  return (
    (await readList(join(directory, 'cpuset.effective_cpus'))) ??
    (await readList(join(directory, 'cpuset.cpus')))
  )
}

async function readList(path: string): Promise<readonly number[] | undefined> {
  return parseCpuList(await readFile(path, 'utf8').catch(() => undefined))
}
