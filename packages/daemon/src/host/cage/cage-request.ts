/**
 * What may be asked of a cage, and the check of it. Everything that reaches the launcher has passed here: ids that are names, paths that
 * are absolute and hold no line break, numbers that are numbers. So the launcher's text never has to.
 */
import { join } from 'node:path'
import { CageError } from './cage-error.ts'
import { type CageLimits, type CageReach, type LauncherBind, mountFlags } from './launcher-script.ts'
import { type CagePlace, cageDirectories, cageFiles, maxInputs, maxOutputs } from './root-template.ts'

/** A file or directory of the host laid over a place in the cage's root; read-only unless said otherwise. */
export interface CageBind {
  readonly source: string
  readonly place: CagePlace
  readonly writable?: boolean
  /** It is a device node, to be used as one. */
  readonly device?: boolean
  /** Its source is what a user chose, and is refused where its path has a link. */
  readonly withoutLinks?: boolean
}

/** Memory of a program as files: a tmpfs at /memory of its own, which goes when the program does. */
export interface CageMemory {
  readonly sizeBytes: number
  /** In huge pages, where the kernel finds some (kernel: admin-guide/mm/transhuge.rst). */
  readonly huge: boolean
}

/** What a caged program is, besides where its output goes. */
export interface CagedProgram {
  /** The name of its cgroup below the daemon's, such as `vm-<id>`. */
  readonly group: string
  readonly uid: number
  readonly gid: number
  /** Absolute path, below /usr or one of the trees that the cages were opened with. */
  readonly binary: string
  /** The arguments after the binary. */
  readonly args: readonly string[]
  readonly binds: readonly CageBind[]
  readonly memory?: CageMemory | undefined
  /** No transparent huge pages for it. */
  readonly withoutThp?: boolean
  /** It is killed when the daemon ends, however that ends. */
  readonly endsWithDaemon?: boolean
  /** It serves a folder of the host: it is root, with the capabilities that files of all users take, and no others. */
  readonly servesFiles?: boolean
  /** It gets no io_uring, so that it may be given servers. */
  readonly withoutIoUring?: boolean
  /** Servers that it may connect to; without it, it has no network. */
  readonly reach?: CageReach | undefined
  readonly limits: CageLimits
}

/** The place of a program's memory. */
export const memoryPlace = '/memory' as const satisfies CagePlace

/**
 * What a server of files keeps (linux/capability.h): chown, dac_override, fowner, fsetid, setgid and setuid, to act for each user of the
 * guest; and setpcap and sys_chroot, which it gives up when it has begun.
 */
export const fileCapabilities = [0, 1, 3, 4, 6, 7, 8, 18].reduce((mask, number) => mask + 2 ** number, 0)

const hugePageBytes = 2 ** 21
const MAX_BINDS = maxInputs + maxOutputs + 8
const places: ReadonlySet<string> = new Set([...cageFiles, ...cageDirectories, '/dev/kvm'])
const MAX_ID = 2 ** 32 - 2

/** Throws `CageError` with step `request` for anything that is not what it should be: a defect of the caller, never of a user. */
export function checkProgram(program: CagedProgram): void {
  checkGroup(program.group)
  const isUser = program.servesFiles
    ? program.uid === 0 && program.gid === 0
    : isId(program.uid) && isId(program.gid)
  check(isUser, 'its uid or gid is not a number above 0')
  check(isPath(program.binary), `its binary "${program.binary}" is not an absolute path`)
  check(
    program.args.every((word) => !word.includes('\0')),
    'an argument holds a NUL',
  )
  check(program.binds.length <= MAX_BINDS, `it has more than ${MAX_BINDS} binds`)
  for (const { source, place } of program.binds) {
    check(isPath(source), `the source "${source}" of a bind is not an absolute path`)
    check(places.has(place), `there is no place ${place} in the cage`)
  }
  const reachFile = program.reach?.file
  check(
    reachFile === undefined || isPath(reachFile),
    `its file of servers "${reachFile}" is not an absolute path`,
  )
  const memoryBytes = program.memory?.sizeBytes ?? 0
  check(Number.isSafeInteger(memoryBytes) && memoryBytes >= 0, 'the size of its memory is not a number')
  for (const [name, value] of Object.entries(program.limits)) {
    check(
      value === undefined || (Number.isSafeInteger(value) && value >= 0),
      `its limit ${name} is not a number`,
    )
  }
}

/** Throws unless the name can be the name of a cgroup. */
export function checkGroup(group: string): void {
  check(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(group), `"${group}" is not the name of a group`)
}

/** Throws unless the path is absolute, without `..` and without characters that end a line. */
export function checkPath(path: string): void {
  check(isPath(path), `"${path}" is not an absolute path`)
}

/** What is laid on the template, in order: binds, memory, and last the empty directory on its root (see launcher-script.ts). */
export function launcherBinds(
  template: string,
  { binds, memory, uid, gid }: Pick<CagedProgram, 'binds' | 'memory' | 'uid' | 'gid'>,
): readonly LauncherBind[] {
  const { readOnly, noSetUid, noDevices, noExec } = mountFlags
  return [
    ...binds.map(({ source, place, writable, device, withoutLinks }) => ({
      source,
      ...(withoutLinks ? { withoutLinks } : {}),
      target: join(template, place),
      flags:
        (writable ? 0 : readOnly) | noSetUid | noExec | (device || place.startsWith('/dev/') ? 0 : noDevices),
    })),
    ...(memory === undefined
      ? []
      : [
          {
            source: 'kvasir-memory',
            target: join(template, memoryPlace),
            flags: noSetUid | noDevices | noExec,
            tmpfs: tmpfsOptions(memory, { uid, gid }),
          },
        ]),
    {
      source: join(template, 'empty'),
      target: template,
      flags: readOnly | noSetUid | noDevices | noExec,
    },
  ]
}

/** The size is rounded up, since a huge page is had whole or not at all. */
function tmpfsOptions(memory: CageMemory, owner: { readonly uid: number; readonly gid: number }): string {
  const bytes = Math.ceil(memory.sizeBytes / hugePageBytes) * hugePageBytes
  const options = [`size=${bytes}`, 'nr_inodes=16', 'mode=0700', `uid=${owner.uid}`, `gid=${owner.gid}`]
  return [...options, ...(memory.huge ? ['huge=always'] : [])].join(',')
}

function isPath(path: string): boolean {
  return (
    path.startsWith('/') && path.length < 4096 && !/[\0\n\r]/.test(path) && !path.split('/').includes('..')
  )
}

function isId(id: number): boolean {
  return Number.isInteger(id) && id > 0 && id <= MAX_ID
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new CageError('request', `A program cannot be caged, because ${what}.`)
}
