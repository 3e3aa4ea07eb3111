/**
 * cgroup v2: finding the hierarchy, making a group, writing limits, moving threads, killing, removing.
 *
 * A program is born in its group when its launcher is moved there before it runs the program: no memory of it is charged elsewhere. On a hybrid host the v2 hierarchy has no controllers: groups then still name, count and kill processes, and
 * what cannot be limited is said by `missingControllers`. Facts: the kernel's Documentation/admin-guide/cgroup-v2.rst.
 *
 * Not here: what a VM's groups are called and which limits it gets.
 */
import { access, mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readMounts } from './proc.ts'

/** The controllers that Kvasir uses, and of these the ones that work on threads. */
export const cgroupControllers = ['cpu', 'cpuset', 'io', 'memory', 'pids'] as const
const threadedControllers: readonly CgroupController[] = ['cpu', 'cpuset', 'pids']

export type CgroupController = (typeof cgroupControllers)[number]

/** Files of a group and what is written to them, e.g. `{ 'memory.max': '2147483648' }`. */
export type CgroupLimits = Readonly<Record<string, string>>

/** A group could not be made, limited, emptied or removed; the consequence is in the sentence. */
export class CgroupError extends Error {
  override readonly name = 'CgroupError'
  readonly path: string

  constructor(message: string, details: { path: string; cause?: unknown }) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.path = details.path
  }
}

/** Where the cgroup v2 hierarchy is mounted, or undefined on a host without it. */
export async function findCgroupRoot(): Promise<string | undefined> {
  const mounts = await readMounts('self')
  return mounts.find((mount) => mount.fileSystem === 'cgroup2')?.mountPoint
}

/** The controllers of `cgroupControllers` that a group does not have. */
export async function missingControllers(path: string): Promise<readonly CgroupController[]> {
  const present = await readWords(join(path, 'cgroup.controllers'))
  return cgroupControllers.filter((controller) => !present.includes(controller))
}

/** Makes a group (an existing one is fine) and gives its children every controller of ours that it has itself. */
export async function ensureCgroup(path: string): Promise<void> {
  await makeCgroup(path)
  await enableControllers(path, cgroupControllers)
}

/** Makes a group without touching its controllers. An existing one is fine. */
export async function makeCgroup(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (cause) {
    throw new CgroupError(`The cgroup ${path} cannot be made, so nothing can be started in it.`, {
      path,
      cause,
    })
  }
}

/** Gives the children of a group these controllers where the group has them. Returns those that could not be given. */
export async function enableControllers(
  path: string,
  controllers: readonly CgroupController[],
): Promise<readonly CgroupController[]> {
  const present = await readWords(join(path, 'cgroup.controllers'))
  const enabled = await readWords(join(path, 'cgroup.subtree_control'))
  const refused: CgroupController[] = []
  for (const controller of controllers) {
    if (enabled.includes(controller)) continue
    if (
      present.includes(controller) &&
      (await tryWrite(join(path, 'cgroup.subtree_control'), `+${controller}`))
    )
      continue
    refused.push(controller)
  }
  return refused
}

/** Writes limits. Returns the files that this group does not have or whose value the kernel refused. */
export async function writeCgroupLimits(path: string, limits: CgroupLimits): Promise<readonly string[]> {
  const results = await Promise.all(
    Object.entries(limits).map(async ([file, value]) =>
      (await tryWrite(join(path, file), value)) ? undefined : file,
    ),
  )
  return results.filter((file) => file !== undefined)
}

/**
 * Makes a threaded child of a group whose processes are ours and gives it the controllers that work on threads. The first one turns
 * the parent into the root of a threaded domain, which keeps memory and io for the whole of it.
 */
export async function ensureThreadedChild(parent: string, name: string): Promise<string> {
  const path = join(parent, name)
  await makeCgroup(path)
  const type = (await readText(join(path, 'cgroup.type'))).trim()
  if (type !== 'threaded') {
    try {
      await writeFile(join(path, 'cgroup.type'), 'threaded')
    } catch (cause) {
      throw new CgroupError(`The cgroup ${path} cannot hold single threads.`, { path, cause })
    }
  }
  await enableControllers(parent, threadedControllers)
  return path
}

/** Moves a process with all its threads into a group. The kernel waits for a grace period of RCU: 3 to 8 ms. */
export async function moveProcess(path: string, pid: number): Promise<void> {
  try {
    await writeFile(join(path, 'cgroup.procs'), String(pid), { flag: 'r+' })
  } catch (cause) {
    throw new CgroupError(`Process ${pid} cannot be moved to the cgroup ${path}.`, { path, cause })
  }
}

/** Moves one thread into a threaded group. Returns false when the thread has ended. */
export async function moveThread(path: string, threadId: number): Promise<boolean> {
  try {
    await writeFile(join(path, 'cgroup.threads'), String(threadId))
    return true
  } catch (cause) {
    if (codeOf(cause) === 'ESRCH') return false
    throw new CgroupError(`Thread ${threadId} cannot be moved to the cgroup ${path}.`, { path, cause })
  }
}

/** The processes in a group and all groups below it; empty when there is no such group. */
export async function cgroupProcesses(path: string): Promise<readonly number[]> {
  const own = (await readText(join(path, 'cgroup.procs'))).split('\n').filter(Boolean).map(Number)
  const below = await Promise.all((await children(path)).map((child) => cgroupProcesses(join(path, child))))
  return [...new Set([...own, ...below.flat()])]
}

/** Whether any process lives in a group or below it. False when there is no such group. */
export async function isCgroupPopulated(path: string): Promise<boolean> {
  return /^populated 1$/m.test(await readText(join(path, 'cgroup.events')))
}

/**
 * Kills every process in a group and below it, at once and without a race against fork (`cgroup.kill`, Linux 5.14), and waits until
 * none is left. Safe to repeat; a group that does not exist is empty.
 */
export async function killCgroup(path: string, options: { readonly timeoutMs: number }): Promise<void> {
  const deadline = performance.now() + options.timeoutMs
  for (let pauseMs = 1; await isCgroupPopulated(path); pauseMs = Math.min(pauseMs * 2, 50)) {
    if (!(await tryWrite(join(path, 'cgroup.kill'), '1'))) await killEach(path)
    if (performance.now() >= deadline) {
      const left = await cgroupProcesses(path)
      throw new CgroupError(
        `Processes ${left.join(', ')} in the cgroup ${path} do not die, most likely because the kernel waits for storage.`,
        { path },
      )
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

/** Removes an empty group and the empty groups below it. Safe to repeat. */
export async function removeCgroup(path: string, options: { readonly timeoutMs: number }): Promise<void> {
  const deadline = performance.now() + options.timeoutMs
  for (const child of await children(path)) await removeCgroup(join(path, child), options)
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    try {
      await rmdir(path)
      return
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return
      // EBUSY passes: the last process is a zombie for a moment longer.
      if (codeOf(cause) !== 'EBUSY' || performance.now() >= deadline)
        throw new CgroupError(`The cgroup ${path} cannot be removed.`, { path, cause })
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

/** Whether a group exists. */
export async function cgroupExists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

async function killEach(path: string): Promise<void> {
  for (const pid of await cgroupProcesses(path)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
}

async function children(path: string): Promise<readonly string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}

async function readWords(path: string): Promise<readonly string[]> {
  return (await readText(path)).split(/\s+/).filter(Boolean)
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}

async function tryWrite(path: string, value: string): Promise<boolean> {
  // r+ and not w: a group has no other files, and O_CREAT in a group that lacks the controller would be refused less clearly.
  return writeFile(path, value, { flag: 'r+' }).then(
    () => true,
    () => false,
  )
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
