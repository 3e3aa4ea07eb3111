/**
 * What the program that closes the cage (launcher.pl) is given: one text for perl, which every Debian has, and nothing compiled.
 *
 * Node can do nothing between fork and exec, and to enter namespaces, mount, change root and identity takes system calls. perl makes them by
 * number, in one process that then becomes the program. No value is ever pasted into the text: all arrive as words on a socket.
 *
 * Order, and why:
 *   namespaces  for a program with a keeper of its logs (capped-log.ts): the filter that hands connects over, then the keeper, which has
 *               its listener; network, IPC and UTS namespaces of its own; then waits for its words, so that one can be held ready
 *               (launchers.ts)
 *   descriptors inherited by a launcher that is started for a program; one that was held takes them out of the daemon, and any
 *               takes those that another process has opened for the daemon out of that (pidfd_getfd(2))
 *   limits      while still root, since a hard limit can only be raised by root
 *   pipes       makes the named pipes of the logs
 *   mounts      a mount namespace of its own, from which nothing reaches another process; the VM's few bind mounts on the prepared
 *               template, then an empty directory over the template's root
 *   admission   waits for the daemon's word: it has moved this process into the VM's cgroup and opened the pipes of the logs. The
 *               kernel takes 3 to 8 ms to move a process (a grace period of RCU), which pass while the steps above run. Nothing of
 *               the VM's has been loaded yet, so all of its memory is charged to its cgroup. If the daemon dies first, this ends.
 *   (connector) for a jailed command that may reach a server, starts who connects for it (connector.pl): in its cgroup by then
 *   log         opens the pipes, of which the daemon holds the other end until the keepers of the logs do
 *   root        pivot_root and unmounting of the old root: nothing of the host is left to name
 *   exec        uid, gid, no groups, five empty capability sets (a server of files keeps those that files take, and is root), no-new-privs, a jailed command's filter that hands connects over, empty environment, then the program. That it ends
 *               with the daemon can be said only then: the kernel forgets it when a process changes its uid
 *
 * The empty directory on top of the root looks idle and is not: because the process's root is then not the topmost mount at the
 * root of its mount namespace, the kernel holds it for chrooted and refuses it new user namespaces (create_user_ns in
 * kernel/user_namespace.c), which a filter of system calls would otherwise have to do.
 *
 * Descriptors: 1, 2 as the caller gave them, or the output's log; 3 the status socket; 4 the serial log; 5 the keeper's socket, until it
 * has it; 6 the admission; 10 and up what the caller passes.
 */
import { join } from 'node:path'
import { type Reach, reachLines } from '../../model/storage/reach.ts'

/** The first descriptor number that a caller's descriptors get inside the cage. */
export const FIRST_DESCRIPTOR = 10

/** A descriptor to pass on: of this process, by its number, or of a process that has opened it for us. */
export type PassedDescriptor = number | { readonly pid: number; readonly fd: number }

/** The descriptor on which the program finds the pipe to the serial log, when one was asked for. */
export const SERIAL_LOG_DESCRIPTOR = 4

/** The descriptor on which the daemon speaks. Its own, because a write to a launcher that has ended would cost its last words. */
export const ADMISSION_DESCRIPTOR = 6

/** The descriptor of the status socket. */
export const STATUS_DESCRIPTOR = 3

/** The descriptor of the socket to the keeper of the logs. */
export const KEEPER_DESCRIPTOR = 5

/** What runs the texts for perl. */
export const perl = '/usr/bin/perl'

const program = join(import.meta.dirname, 'launcher.pl')

/** The text for perl that connects for a caged program. */
export const connectorProgram = join(import.meta.dirname, 'connector.pl')

/** Flags of a mount (sys/mount.h). */
export const mountFlags = { readOnly: 1, noSetUid: 2, noDevices: 4, noExec: 8 } as const

/** Numbers of resources (sys/resource.h). */
const resources = {
  cpuSeconds: 0,
  fileSizeBytes: 1,
  coreBytes: 4,
  processes: 6,
  openFiles: 7,
  memlockBytes: 8,
  addressSpaceBytes: 9,
} as const

/** Resource limits of a caged program; one that is absent is inherited. No program in a cage dumps core. */
export interface CageLimits {
  readonly openFiles: number
  /** Processes and threads of the uid, which is the program's own: this is what stops a fork bomb on hosts without the pids controller. */
  readonly processes: number
  readonly memlockBytes?: number | undefined
  readonly addressSpaceBytes?: number | undefined
  readonly cpuSeconds?: number | undefined
  readonly fileSizeBytes?: number | undefined
}

/** One mount, of what lies at `source` unless it is a tmpfs; its paths are those of the host. */
export interface LauncherBind {
  readonly source: string
  readonly target: string
  /** A sum of `mountFlags`. */
  readonly flags: number
  /** The options of a new tmpfs. */
  readonly tmpfs?: string | undefined
  /** It is refused where its source's path has a link. */
  readonly withoutLinks?: boolean
}

/** What of the host's network a program may connect to. */
export interface CageReach {
  readonly allowed: readonly Reach[]
  /** Where it is written instead, as lines, and read for each connection: what may change while the program runs. */
  readonly file?: string
}

/** What the launcher needs to know; every value has been checked. */
export interface LauncherParameters {
  readonly template: string
  readonly logFifo: string | undefined
  readonly serialFifo: string | undefined
  readonly uid: number
  readonly gid: number
  /** No transparent huge pages for the program (prctl(2): PR_SET_THP_DISABLE). */
  readonly withoutThp: boolean
  /** The program is killed when the daemon ends (prctl(2): PR_SET_PDEATHSIG). */
  readonly endsWithDaemon: boolean
  /** The program gets no io_uring, with which a socket can be connected past what watches connect(2). */
  readonly withoutIoUring: boolean
  /** The capabilities that it keeps, as a mask by their numbers (linux/capability.h). */
  readonly capabilities?: number
  /** What a program without a keeper of logs may connect to; nothing when undefined. One with a keeper gets a connector (connectors.ts). */
  readonly reach?: readonly Reach[] | undefined
  readonly binds: readonly LauncherBind[]
  readonly limits: CageLimits
  readonly argv: readonly string[]
}

/** The argv of a launcher; of one with a keeper of logs, which is this text for a shell. */
export function launcherArgv(keeper?: string): readonly [string, ...string[]] {
  return [perl, program, process.arch, ...(keeper === undefined ? [] : [keeper])]
}

/** What a launcher waits for: the length of its words and the words. `taken` are the descriptors that it has not inherited. */
export function launcherMessage(parameters: LauncherParameters, taken: readonly PassedDescriptor[]): Buffer {
  const words = Buffer.from(launcherWords(parameters, taken).join('\0'))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(words.length)
  return Buffer.concat([length, words])
}

/** The daemon's word that the launcher may go on. */
export const GO = 'g'

function launcherWords(
  parameters: LauncherParameters,
  taken: readonly PassedDescriptor[],
): readonly string[] {
  const limits = limitWords({ coreBytes: 0, ...parameters.limits })
  return [
    String(process.pid),
    String(taken.length),
    ...taken.map((one) => (typeof one === 'number' ? String(one) : `${one.pid}:${one.fd}`)),
    parameters.template,
    parameters.logFifo ?? '',
    parameters.serialFifo ?? '',
    String(parameters.uid),
    String(parameters.gid),
    parameters.withoutThp ? '1' : '0',
    parameters.endsWithDaemon ? '1' : '0',
    parameters.withoutIoUring ? '1' : '',
    String(parameters.capabilities ?? 0),
    ...reachWords(parameters.reach),
    String(limits.length / 2),
    ...limits,
    String(parameters.binds.length),
    ...parameters.binds.flatMap(({ source, target, flags, tmpfs, withoutLinks }) => [
      source,
      target,
      String(flags),
      withoutLinks ? 'without-links' : (tmpfs ?? ''),
    ]),
    ...parameters.argv,
  ]
}

function reachWords(reach: readonly Reach[] | undefined): readonly string[] {
  if (reach === undefined) return ['', '0']
  const lines = reachLines(reach)
  return [connectorProgram, String(lines.length), ...lines]
}

function limitWords(limits: CageLimits & { readonly coreBytes: number }): readonly string[] {
  const values: Readonly<Record<string, number | undefined>> = { ...limits }
  return Object.entries(resources).flatMap(([name, resource]) => {
    const value = values[name]
    return value === undefined ? [] : [String(resource), String(value)]
  })
}
