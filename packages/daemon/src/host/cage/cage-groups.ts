/**
 * The cgroups of caged programs: `<cgroup v2 root>/<daemon's name>/<group>`, with threaded children for a VM's threads.
 *
 * A populated group means that something of the VM runs, whatever any record says: `make` refuses one, and `remove` returns only when
 * nothing of it is left. Where the hierarchy lacks controllers (hybrid hosts), groups still name, find and kill processes; what cannot be
 * enforced is said in `shortcomings`.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type CgroupController,
  CgroupError,
  type CgroupLimits,
  cgroupControllers,
  cgroupProcesses,
  ensureCgroup,
  ensureThreadedChild,
  findCgroupRoot,
  isCgroupPopulated,
  killCgroup,
  makeCgroup,
  missingControllers,
  moveProcess,
  moveThread,
  readCgroupPath,
  removeCgroup,
  writeCgroupLimits,
} from '@kvasir/linux'
import { CageError } from './cage-error.ts'
import { checkGroup } from './cage-request.ts'

/** A thread and the threaded child it belongs to: `vcpu0`, `io-root`, `emulator`. */
export interface ThreadPlace {
  readonly threadId: number
  readonly child: string
}

export interface CageGroups {
  /**
   * Says that a program will be caged soon. Moving a process between cgroups waits for a grace period of RCU, 5 to 15 ms, unless
   * another move ended within about the last 20 ms; so this moves the daemon to where it is already. Call it as early in a start as
   * possible; 10 ms before the launch hide the whole wait. `launch` calls it too. It never fails and nothing waits for it.
   */
  announce(): void
  /** The absolute path of a group, whether it exists or not. */
  path(group: string): string
  /** Makes a group and returns its path. Throws `CageError` with step `cgroup` when processes live in it. */
  make(group: string): Promise<string>
  /** Moves a launcher into a group. Throws `CageError`. */
  admit(group: string, pid: number): Promise<void>
  /** Writes limits such as `memory.max`. Returns the files that this host did not accept. */
  limit(group: string, limits: CgroupLimits): Promise<readonly string[]>
  /** Makes a threaded child and writes its limits. Returns the files that this host did not accept. */
  divide(group: string, child: string, limits: CgroupLimits): Promise<readonly string[]>
  /** Whether a group has threaded children. */
  isDivided(group: string): Promise<boolean>
  /** Moves threads into threaded children that were made before; one that has ended is left out. */
  assignThreads(group: string, places: readonly ThreadPlace[]): Promise<void>
  /** The names of all groups that exist, populated or not. */
  list(): Promise<readonly string[]>
  processes(group: string): Promise<readonly number[]>
  isPopulated(group: string): Promise<boolean>
  /** Kills everything in a group at once and waits for its end. Safe to repeat. */
  kill(group: string, options: { readonly timeoutMs: number }): Promise<void>
  /** Kills what is left, and removes the group. Safe to repeat. */
  remove(group: string, options: { readonly timeoutMs: number }): Promise<void>
  /** Removes the daemon's own cgroup when no group is left in it. */
  removeAll(): Promise<void>
  /** The controllers that this host's cgroup v2 has for VMs. */
  readonly controllers: readonly CgroupController[]
  readonly shortcomings: readonly string[]
}

const REMOVE_TIMEOUT_MS = 100

const consequences: Readonly<Record<CgroupController, string>> = {
  cpu: 'VMs cannot be given shares or quotas of CPU time',
  cpuset: 'vCPUs can only be pinned by affinity, not confined',
  io: 'disk bandwidth cannot be limited per VM',
  memory: 'the memory of an emulator is not limited or accounted by the kernel',
  pids: 'the number of processes is limited by RLIMIT_NPROC only',
}

/** Makes the daemon's cgroup. Throws `CageError` on a host without cgroup v2. */
export async function openCageGroups(name: string): Promise<CageGroups> {
  checkGroup(name)
  const root = await findCgroupRoot()
  if (root === undefined) throw new CageError('cgroup', 'This host has no cgroup v2, so no VM can be caged.')
  const home = join(root, name)
  await ensureCgroup(root)
  await ensureCgroup(home)
  const missing = await missingControllers(home)

  const path = (group: string) => {
    checkGroup(group)
    return join(home, group)
  }
  const remove = async (group: string, options: { readonly timeoutMs: number }) => {
    const deadline = performance.now() + options.timeoutMs
    for (;;) {
      await killCgroup(path(group), options)
      try {
        return await removeCgroup(path(group), { timeoutMs: REMOVE_TIMEOUT_MS })
      } catch (error) {
        // A launcher that was under way may have come in after the kill.
        if (performance.now() >= deadline) throw error
      }
    }
  }
  return {
    announce: () => void moveToSamePlace(root),
    path,
    make: (group) => makeEmpty(path(group)),
    admit: (group, pid) => admit(path(group), pid),
    limit: (group, limits) => writeCgroupLimits(path(group), limits),
    divide: async (group, child, limits) => {
      checkGroup(child)
      return writeCgroupLimits(await ensureThreadedChild(path(group), child), limits)
    },
    isDivided: async (group) => (await listGroups(path(group))).length > 0,
    assignThreads: async (group, places) => {
      await Promise.all(places.map(({ threadId, child }) => moveThread(join(path(group), child), threadId)))
    },
    list: () => listGroups(home),
    processes: (group) => cgroupProcesses(path(group)),
    isPopulated: (group) => isCgroupPopulated(path(group)),
    kill: (group, options) => killCgroup(path(group), options),
    remove,
    removeAll: () => removeHome(home),
    controllers: cgroupControllers.filter((controller) => !missing.includes(controller)),
    shortcomings: missing.map(
      (controller) => `The host's cgroup v2 has no ${controller} controller, so ${consequences[controller]}.`,
    ),
  }
}

async function moveToSamePlace(root: string): Promise<void> {
  try {
    const own = await readCgroupPath('self')
    if (own !== undefined) await moveProcess(join(root, own), process.pid)
  } catch {
    // The next move waits a little longer.
  }
}

async function makeEmpty(path: string): Promise<string> {
  try {
    await makeCgroup(path)
  } catch (cause) {
    throw new CageError('cgroup', `The cgroup ${path} cannot be made, so the program was not run.`, { cause })
  }
  if (await isCgroupPopulated(path)) {
    const pids = await cgroupProcesses(path)
    throw new CageError(
      'cgroup',
      `Processes (${pids.join(', ')}) still live in the cgroup ${path}, so nothing new is started in it.`,
    )
  }
  return path
}

async function admit(path: string, pid: number): Promise<void> {
  try {
    await moveProcess(path, pid)
  } catch (cause) {
    throw new CageError(
      'cgroup',
      `The launcher cannot enter the cgroup ${path}, so the program was not run.`,
      { cause },
    )
  }
}

async function listGroups(home: string): Promise<readonly string[]> {
  const entries = await readdir(home, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}

async function removeHome(home: string): Promise<void> {
  if ((await listGroups(home)).length > 0) return
  try {
    await removeCgroup(home, { timeoutMs: 1_000 })
  } catch (error) {
    if (!(error instanceof CgroupError)) throw error // Another daemon's program has come in; its group stays.
  }
}
