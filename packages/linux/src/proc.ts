/**
 * What /proc says of a process, parsed: state, credentials, capabilities, seccomp, namespaces, mounts, descriptors, threads.
 * Reading never throws for a process that has ended; it answers undefined. Formats: proc(5).
 */
import { readdir, readFile, readlink } from 'node:fs/promises'

export interface ProcessStat {
  /** `R S D Z T t X I`. */
  readonly state: string
  readonly parentPid: number
  readonly startTicks: number
}

export interface ProcessStatus {
  readonly name: string
  /** Real, effective, saved, file-system. */
  readonly uids: readonly number[]
  readonly gids: readonly number[]
  readonly groups: readonly number[]
  readonly threads: number
  /** The five capability sets as numbers. */
  readonly capabilities: Readonly<
    Record<'inheritable' | 'permitted' | 'effective' | 'bounding' | 'ambient', bigint>
  >
  readonly noNewPrivileges: boolean
  /** 0 off, 1 strict, 2 filter. */
  readonly seccompMode: number
  /** How many filters are stacked; 0 on kernels before 5.9, which do not say. */
  readonly seccompFilters: number
}

export interface ProcessThread {
  readonly threadId: number
  readonly name: string
}

export interface ProcessMount {
  readonly id: number
  readonly parentId: number
  /** Path inside the file system that is mounted here. */
  readonly root: string
  readonly mountPoint: string
  readonly options: readonly string[]
  readonly fileSystem: string
  readonly source: string
  readonly superOptions: readonly string[]
}

/** The namespaces that /proc/PID/ns names, such as `mnt` and `net`. */
export type NamespaceIds = Readonly<Record<string, string>>

/** State, parent and start time of a process. */
export async function readProcessStat(pid: number): Promise<ProcessStat | undefined> {
  const text = await readProc(pid, 'stat')
  return text === undefined ? undefined : parseProcessStat(text)
}

/** Parses /proc/PID/stat. The name in brackets may hold spaces and brackets, so fields count from the last `)`. */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parentPid, startTicks] = [fields[0], Number(fields[1]), Number(fields[19])]
  if (state === undefined || !Number.isSafeInteger(parentPid) || !Number.isSafeInteger(startTicks))
    return undefined
  return { state, parentPid, startTicks }
}

/** Credentials, capabilities and seccomp state of a process or, by its thread id, of one thread. */
export async function readProcessStatus(
  pid: number,
  threadId: number = pid,
): Promise<ProcessStatus | undefined> {
  const text = await readProc(pid, threadId === pid ? 'status' : `task/${threadId}/status`)
  return text === undefined ? undefined : parseProcessStatus(text)
}

/** Parses /proc/PID/status. */
export function parseProcessStatus(text: string): ProcessStatus {
  const fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  const word = (key: string) => fields.get(key) ?? ''
  const numbers = (key: string) => word(key).split(/\s+/).filter(Boolean).map(Number)
  const set = (key: string) => BigInt(`0x${word(key) || '0'}`)
  return {
    name: word('Name'),
    uids: numbers('Uid'),
    gids: numbers('Gid'),
    groups: numbers('Groups'),
    threads: Number(word('Threads')),
    capabilities: {
      inheritable: set('CapInh'),
      permitted: set('CapPrm'),
      effective: set('CapEff'),
      bounding: set('CapBnd'),
      ambient: set('CapAmb'),
    },
    noNewPrivileges: word('NoNewPrivs') === '1',
    seccompMode: Number(word('Seccomp') || '0'),
    seccompFilters: Number(word('Seccomp_filters') || '0'),
  }
}

/** The threads of a process with their names; empty when it has ended. */
export async function readThreads(pid: number): Promise<readonly ProcessThread[]> {
  const ids = await orUndefined(readdir(`/proc/${pid}/task`))
  const threads = await Promise.all(
    (ids ?? []).map(async (id) => ({
      threadId: Number(id),
      name: await readProc(pid, `task/${id}/comm`),
    })),
  )
  return threads.flatMap(({ threadId, name }) =>
    name === undefined ? [] : [{ threadId, name: name.trimEnd() }],
  )
}

/** The open descriptors of a process and what each refers to, as /proc links show it. */
export async function readDescriptors(pid: number): Promise<ReadonlyMap<number, string>> {
  const names = (await orUndefined(readdir(`/proc/${pid}/fd`))) ?? []
  const targets = await Promise.all(names.map((name) => orUndefined(readlink(`/proc/${pid}/fd/${name}`))))
  const descriptors = new Map<number, string>()
  names.forEach((name, index) => {
    const target = targets[index]
    if (target !== undefined) descriptors.set(Number(name), target)
  })
  return new Map([...descriptors].sort(([a], [b]) => a - b))
}

/** The namespaces of a process, e.g. `{ net: 'net:[4026531840]' }`. */
export async function readNamespaces(pid: number | 'self'): Promise<NamespaceIds> {
  const names = (await orUndefined(readdir(`/proc/${pid}/ns`))) ?? []
  const entries = await Promise.all(
    names.map(
      async (name) => [name, (await orUndefined(readlink(`/proc/${pid}/ns/${name}`))) ?? ''] as const,
    ),
  )
  return Object.fromEntries(entries)
}

/** The mounts that a process sees below its root. */
export async function readMounts(pid: number | 'self'): Promise<readonly ProcessMount[]> {
  return parseMountInfo((await readProc(pid, 'mountinfo')) ?? '')
}

/** Parses /proc/PID/mountinfo; octal escapes in paths are undone. */
export function parseMountInfo(text: string): readonly ProcessMount[] {
  return text.split('\n').flatMap((line) => {
    const [before, after] = line.split(' - ', 2)
    if (before === undefined || after === undefined) return []
    const [id, parentId, , root, mountPoint, options] = before.split(' ')
    const [fileSystem, source, superOptions] = after.split(' ')
    return [
      {
        id: Number(id),
        parentId: Number(parentId),
        root: unescapeOctal(root ?? ''),
        mountPoint: unescapeOctal(mountPoint ?? ''),
        options: (options ?? '').split(','),
        fileSystem: fileSystem ?? '',
        source: unescapeOctal(source ?? ''),
        superOptions: (superOptions ?? '').split(','),
      },
    ]
  })
}

/** The names of the network links in a process's network namespace. */
export async function readLinks(pid: number | 'self'): Promise<readonly string[]> {
  const text = (await readProc(pid, 'net/dev')) ?? ''
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => (line.includes(':') ? [line.slice(0, line.indexOf(':')).trim()] : []))
}

/** The path of a process's cgroup v2 below that hierarchy's root, e.g. `/kvasir/vm-1`. */
export async function readCgroupPath(pid: number | 'self'): Promise<string | undefined> {
  const text = await readProc(pid, 'cgroup')
  return text
    ?.split('\n')
    .find((line) => line.startsWith('0::'))
    ?.slice(3)
}

/** The program that a process runs now; undefined when it has ended. */
export async function readExecutable(pid: number): Promise<string | undefined> {
  return orUndefined(readlink(`/proc/${pid}/exe`))
}

/** The argument vector that a process was started with; empty for a kernel thread or a process that has ended. */
export async function readArgv(pid: number): Promise<readonly string[]> {
  const text = (await readProc(pid, 'cmdline')) ?? ''
  return text === '' ? [] : text.replace(/\0$/, '').split('\0')
}

/** The environment that a process was started with, as `NAME=value`; undefined when it cannot be read. */
export async function readEnvironment(pid: number): Promise<readonly string[] | undefined> {
  const text = await readProc(pid, 'environ')
  return text?.split('\0').filter(Boolean)
}

function readProc(pid: number | 'self', file: string): Promise<string | undefined> {
  return orUndefined(readFile(`/proc/${pid}/${file}`, 'utf8'))
}

async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch {
    return undefined // The process has ended, or ended between two reads.
  }
}

function unescapeOctal(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
