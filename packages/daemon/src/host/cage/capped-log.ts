/**
 * Logs that cannot fill a disk, kept by nobody of ours that could die with the daemon.
 *
 * A program writes into a named pipe; a shell with one `dd` per log (about 0.7 MB of memory together) drains it into a file. The
 * shell sets RLIMIT_FSIZE for `dd` alone, so the kernel ends `dd` when the file is full; the shell then renames the file to
 * `FILE.1` and starts the next. So at most two files of half the cap exist, and a rotation loses at most one read of 4 KiB.
 * Output is written as it comes: what a guest prints is in the file at once. Why not one program: `head -c` and awk hold output
 * back, `dd count=` counts reads and not bytes, `split --filter` needs three processes.
 *
 * When a log cannot be written (disk full, directory gone) the pipe is still drained, so the program never waits. When a log's keeper
 * is killed, the program's next write gets EPIPE: QEMU ignores SIGPIPE and goes on without a log. `startCappedLogs` may then be called
 * again with the same pipes. The keepers end by themselves when the last writer has closed the pipe.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { open, rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { COMMAND_PATH } from '@kvasir/linux'
import { CageError } from './cage-error.ts'

/** One log: the pipe that a program writes to and the file it ends in; the older half lies beside that as `FILE.1`. */
export interface CappedLog {
  readonly fifo: string
  readonly file: string
}

/** The processes that keep one VM's logs. */
export interface LogKeepers {
  /** Settles when each holds its pipe. Throws `CageError` with step `log` when one cannot. */
  readonly ready: Promise<void>
  /** Ends them at once, also when they have not reached their cgroup yet. */
  kill(): void
}

/**
 * Parameters: cgroup, size of one file in 512-byte blocks, then a pair of pipe and file for one log or two. The cgroup is entered first (0
 * stands for the shell that writes it): a keeper whose writer never comes, because the daemon was killed, is then found and killed with
 * its group.
 */
const KEEPER = `
cgroup=$1
ulimit -c 0; ulimit -f "$2"; umask 077
shift 2
keep() {
  echo 0 > "$cgroup/cgroup.procs" || exit 70
  exec < "$1" || exit 71
  echo ready
  exec >/dev/null 2>&1
  while :; do
    dd bs=4096 of="$2" oflag=append conv=notrunc status=none
    case $? in
      0) exit 0 ;;
      153) mv -f "$2" "$2.1" ;;
      *) [ "$(dd bs=4096 count=64 status=none | wc -c)" -gt 0 ] || exit 0 ;;
    esac
  done
}
while [ $# -gt 2 ]; do keep "$1" "$2" & shift 2; done
keep "$1" "$2"
`

const TIMEOUT_MS = 5_000
const COMPLAINT_LIMIT = 4096

/**
 * Starts the keepers of one VM's logs, of which there are one or two, inside its cgroup. Their pipes are there; somebody must hold them open
 * for writing. `capBytes` is for both files of one log together.
 */
export function startCappedLogs(
  logs: readonly CappedLog[],
  options: { readonly cgroup: string; readonly capBytes: number },
): LogKeepers {
  const blocks = Math.max(8, Math.floor(options.capBytes / 2 / 512))
  const files = logs.flatMap(({ fifo, file }) => [fifo, file])
  const keeper = spawn('/bin/sh', ['-c', KEEPER, 'kvasir-log', options.cgroup, String(blocks), ...files], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
  })
  const ready = untilReady(keeper, logs.length)
  ready.catch(() => {}) // Whoever does not wait for the keepers is not told.
  keeper.unref()
  return {
    ready,
    kill: () => {
      try {
        if (keeper.pid !== undefined) process.kill(-keeper.pid, 'SIGKILL')
      } catch {
        // They have ended already.
      }
    },
  }
}

/** One word of each keeper, or a complaint. Nothing is read from them afterwards. */
async function untilReady(
  keeper: ChildProcessByStdio<null, Readable, Readable>,
  count: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  let complaint = ''
  let said = ''
  keeper.stderr.on('data', (chunk: Buffer) => {
    if (complaint.length < COMPLAINT_LIMIT) complaint += chunk.toString('utf8')
  })
  keeper.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8')
    if (said.split('ready\n').length > count) resolve(true)
  })
  keeper.once('error', (error) => {
    complaint = error.message
    resolve(false)
  })
  keeper.once('close', () => resolve(false))
  const deadline = setTimeout(() => resolve(false), TIMEOUT_MS)
  const isReady = await promise
  clearTimeout(deadline)
  keeper.stdout.destroy()
  keeper.stderr.destroy()
  if (isReady) return
  throw new CageError('log', 'The logs cannot be kept, so the program was ended.', {
    stderr: complaint.trim(),
  })
}

/** The last bytes of a capped log, across its two files. Empty when there is none. */
export async function readCappedLog(file: string, bytes: number): Promise<Uint8Array> {
  const newest = await readTail(file, bytes)
  if (newest.length >= bytes) return newest
  return Buffer.concat([await readTail(`${file}.1`, bytes - newest.length), newest])
}

/** Removes a log and its older half. */
export async function removeCappedLog(file: string): Promise<void> {
  await Promise.all([rm(file, { force: true }), rm(`${file}.1`, { force: true })])
}

async function readTail(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return Buffer.alloc(0)
  try {
    const { size } = await file.stat()
    const length = Math.min(size, bytes)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}
