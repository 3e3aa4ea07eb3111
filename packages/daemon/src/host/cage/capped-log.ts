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
 * is killed, the program's next write gets EPIPE: QEMU ignores SIGPIPE and goes on without a log. Another shell may then keep the same
 * pipes. The keepers end by themselves when the last writer has closed the pipe.
 *
 * Not here: who starts that shell (launcher.pl). It waits for its words, and ends when nobody is left who could say them.
 */
import { open, rm } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { COMMAND_PATH } from '@kvasir/linux'
import { CageError } from './cage-error.ts'

/** One log: the pipe that a program writes to and the file it ends in; the older half lies beside that as `FILE.1`. */
export interface CappedLog {
  readonly fifo: string
  readonly file: string
}

/**
 * The text for a shell whose descriptors 0 to 2 are one socket. It reads lines: cgroup, size of one file in 512-byte blocks, then a pair
 * of pipe and file for one log or two, and an empty line. The cgroup is entered first (0 stands for the shell that writes it): a keeper
 * whose writer never comes, because the daemon was killed, is then found and killed with its group.
 */
export const keeperProgram = `
PATH=${COMMAND_PATH} LC_ALL=C; export PATH LC_ALL
while :; do
  IFS= read -r word || exit 0
  [ -n "$word" ] || break
  set -- "$@" "$word"
done
echo 0 > "$1/cgroup.procs" || exit 70
ulimit -c 0; ulimit -f "$2"; umask 077
shift 2
keep() {
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
 * Gives a keeper its words: the logs of one VM, of which there are one or two, to be kept inside its cgroup. Their pipes are there; somebody
 * must hold them open for writing. `capBytes` is for both files of one log together. Resolves when each log is kept. Throws `CageError`
 * with step `log` when one cannot be.
 */
export async function keepLogs(
  keeper: Duplex | undefined,
  logs: readonly CappedLog[],
  options: { readonly cgroup: string; readonly capBytes: number },
): Promise<void> {
  if (keeper === undefined) throw notKept('No keeper was started.')
  const blocks = Math.max(8, Math.floor(options.capBytes / 2 / 512))
  const words = [options.cgroup, String(blocks), ...logs.flatMap(({ fifo, file }) => [fifo, file]), '', '']
  keeper.write(words.join('\n'))
  await untilReady(keeper, logs.length)
}

/** One word of each log's keeper, or a complaint. Nothing is read from them afterwards. */
async function untilReady(keeper: Duplex, count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  let said = ''
  const words = () => said.split('\n')
  keeper.on('data', (chunk: Buffer) => {
    if (said.length < COMPLAINT_LIMIT) said += chunk.toString('utf8')
    if (words().filter((word) => word === READY).length >= count) resolve(true)
  })
  keeper.on('error', () => {}) // `close` follows.
  keeper.once('close', () => resolve(false))
  const deadline = setTimeout(() => resolve(false), TIMEOUT_MS)
  const isReady = await promise
  clearTimeout(deadline)
  keeper.destroy()
  if (!isReady)
    throw notKept(
      words()
        .filter((word) => word !== READY)
        .join('\n'),
    )
}

const READY = 'ready'

function notKept(complaint: string): CageError {
  return new CageError('log', 'The logs cannot be kept, so the program was ended.', {
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
