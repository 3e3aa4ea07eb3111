/**
 * The program that closes the cage: one fixed text for /bin/sh and util-linux's own tools, nothing compiled.
 *
 * No value is ever pasted into the text. Values arrive as positional parameters, which the shell does not parse again, and the
 * mounts in a file whose paths are escaped by `fstabLine`.
 *
 * Order, and why:
 *   namespaces  mount, network, IPC and UTS namespaces of its own; mounts here reach no other process
 *   limits      while still root, since a hard limit can only be raised by root
 *   mounts      the VM's few bind mounts on the prepared template, then an empty directory over the template's root
 *   admission   waits for the daemon's word: it has moved this process into the VM's cgroup and made the pipes of the logs. The
 *               kernel takes 3 to 8 ms to move a process (a grace period of RCU), which pass while the steps above run. Nothing of
 *               the VM's has been loaded yet, so all of its memory is charged to its cgroup. If the daemon dies first, this ends.
 *   log         opens the pipes; waits for the keepers of the logs to open the other end
 *   root        pivot_root and unmounting of the old root: nothing of the host is left to name
 *   exec        uid, gid, no groups, five empty capability sets, no-new-privs, empty environment, then the program
 *
 * The empty directory on top of the root looks idle and is not: because the process's root is then not the topmost mount at the
 * root of its mount namespace, the kernel holds it for chrooted and refuses it new user namespaces (create_user_ns in
 * kernel/user_namespace.c), which a filter of system calls would otherwise have to do. `/proc` in the template is a link into the
 * old root: umount(8) reads the mount table there, and the link dangles as soon as it is done.
 *
 * Measured on 2 idle cores (Linux 6.18, util-linux 2.38, medians of 20, three binds, both logs): from `launch` to the exec of the
 * program 9.8 ms: spawning by Node 2.0, unshare and the shell 2.5, mount -a 1.2, pivot_root and umount 2.2, the rest waiting for Node's
 * second spawn (the logs). A bare QEMU 7.2 greets after 16.8 ms, a caged one after 25.4. What was chosen by measuring: one `mount -a` for
 * all binds (1.2) and not a `mount` each (0.8 apiece); the template's own mount as the new root and not a bind of it; the move to the
 * cgroup beside the mounts (it alone takes 7 to 15 when nothing announced it, see CageGroups.announce); no ld.so.cache in the root (no
 * gain).
 *
 * Descriptors: 1, 2 as the caller gave them; 3 the status socket, on which the steps' names and the tools' complaints travel and
 * whose end means "exec"; 4 the serial log; 5 the fstab; 6 the admission; 7 to 9 for the shell; 10 and up what the caller passes.
 */

/** The first descriptor number that a caller's descriptors get inside the cage. */
export const FIRST_DESCRIPTOR = 10

/** The descriptor on which the program finds the pipe to the serial log, when one was asked for. */
export const SERIAL_LOG_DESCRIPTOR = 4

/** The descriptor of the fstab: a regular file without a name, because mount(8) takes no pipe for one. */
export const FSTAB_DESCRIPTOR = 5

/** The descriptor on which the daemon says "go". Its own, because a write to a launcher that has ended would cost its last words. */
export const ADMISSION_DESCRIPTOR = 6

/** The descriptor of the status socket. */
export const STATUS_DESCRIPTOR = 3

const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Runs inside the new namespaces. Parameters: template, log FIFO, serial log FIFO, uid, gid, then limits in the units of
 * ulimit, where `-` leaves one alone (core, open files, memlock KiB, address space KiB, CPU seconds, file size in 512-byte blocks,
 * processes), then the argv. The last two are set late: mount(8) is a process too, and makes files.
 */
const SCRIPT = `
PATH=${PATH}
exec 7>&1 8>&2 1>&3 2>&3
set -e
step() { echo "@step $1"; }
limit() { [ "$2" = - ] || ulimit "$1" "$2"; }
template=$1 log=$2 serial=$3 uid=$4 gid=$5; shift 5
step limits
limit -c "$1"; limit -n "$2"; limit -l "$3"; limit -v "$4"; limit -t "$5"
blocks=$6 processes=$7
shift 7
step mounts
echo kvasir > /proc/sys/kernel/hostname
cd "$template"
mount -a -T /proc/self/fd/${FSTAB_DESCRIPTOR}
step admission
read -r go <&${ADMISSION_DESCRIPTOR}
step log
if [ -n "$log" ]; then exec 7>"$log" 8>&7; fi
if [ -n "$serial" ]; then exec 4>"$serial"; fi
step root
pivot_root . old
umount -l -n /old
cd /
umask 077
limit -f "$blocks"
[ "$processes" = - ] || ulimit -p "$processes" 2>/dev/null || ulimit -u "$processes"
step exec
unset PATH PWD OLDPWD
exec /usr/bin/setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs -- "$@" 1>&7 2>&8 3>&- 5>&- 6>&- 7>&- 8>&-
`

/** Resource limits of a caged program; one that is absent is inherited. */
export interface CageLimits {
  readonly openFiles: number
  /** Processes and threads of the uid, which is the program's own: this is what stops a fork bomb on hosts without the pids controller. */
  readonly processes: number
  readonly memlockBytes?: number | undefined
  readonly addressSpaceBytes?: number | undefined
  readonly cpuSeconds?: number | undefined
  readonly fileSizeBytes?: number | undefined
}

/** What the launcher needs to know; every value has been checked. */
export interface LauncherParameters {
  readonly template: string
  readonly logFifo: string | undefined
  readonly serialFifo: string | undefined
  readonly uid: number
  readonly gid: number
  readonly fstab: readonly string[]
  readonly limits: CageLimits
  readonly argv: readonly string[]
}

/** The argv of the launcher. */
export function launcherArgv(parameters: LauncherParameters): readonly string[] {
  const { limits } = parameters
  const kibibytes = (bytes: number | undefined) =>
    bytes === undefined ? '-' : String(Math.ceil(bytes / 1024))
  return [
    '/usr/bin/unshare',
    '--mount',
    '--net',
    '--ipc',
    '--uts',
    '--propagation',
    'private',
    '/bin/sh',
    '-c',
    SCRIPT,
    'kvasir-cage',
    parameters.template,
    parameters.logFifo ?? '',
    parameters.serialFifo ?? '',
    String(parameters.uid),
    String(parameters.gid),
    '0',
    String(limits.openFiles),
    kibibytes(limits.memlockBytes),
    kibibytes(limits.addressSpaceBytes),
    limits.cpuSeconds === undefined ? '-' : String(limits.cpuSeconds),
    limits.fileSizeBytes === undefined ? '-' : String(Math.ceil(limits.fileSizeBytes / 512)),
    String(limits.processes),
    ...parameters.argv,
  ]
}

/** One line of fstab(5) for a bind mount; blanks and backslashes in paths are written as octal escapes. */
export function fstabLine(bind: { source: string; target: string; options: readonly string[] }): string {
  const escaped = (path: string) =>
    path.replace(/[\s\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`)
  return `${escaped(bind.source)} ${escaped(bind.target)} none ${['bind', ...bind.options].join(',')} 0 0`
}
