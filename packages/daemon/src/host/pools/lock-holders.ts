/**
 * Who holds the lock that QEMU and its tools put on a file (docs of QEMU: image locking), for a sentence that names them.
 *
 * The kernel tells no owner of such a lock in /proc/locks, but the fdinfo of each descriptor lists the locks of its open file
 * (proc_pid_fdinfo(5)). Nothing of the file itself is touched. Not here: the locks, which are QEMU's.
 */
import { readdir, readFile, readlink } from 'node:fs/promises'

/** Which file; `device` as the kernel writes it in its list of locks. */
export interface LockedFile {
  readonly path: string
  readonly device: string
  readonly inode: number
}

/** A process that has the file locked. */
export interface LockHolder {
  readonly pid: number
  readonly program: string
}

/** `fe:00`: a device as lists of locks have it. */
export function lockDevice(major: number, minor: number): string {
  return [major, minor].map((number) => number.toString(16).padStart(2, '0')).join(':')
}

/** The processes that hold a lock on a file, the eldest number first; none for what nobody holds, or who has just let go. */
export async function findLockHolders(file: LockedFile): Promise<readonly LockHolder[]> {
  const holders: LockHolder[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const pid = Number(name)
    if (pid !== process.pid && (await holds(pid, file))) holders.push({ pid, program: await programOf(pid) })
  }
  return holders.toSorted((a, b) => a.pid - b.pid)
}

/** In words: `qemu-img (PID 4711)`. */
export function holderWords(holders: readonly LockHolder[]): string {
  return holders.map(({ pid, program }) => `${program} (PID ${pid})`).join(' and ')
}

async function holds(pid: number, { path, device, inode }: LockedFile): Promise<boolean> {
  const folder = `/proc/${pid}/fdinfo`
  for (const fd of await readdir(folder).catch(() => [])) {
    const text = await readFile(`${folder}/${fd}`, 'utf8').catch(() => '') // It was closed meanwhile.
    for (const [, at, number] of text.matchAll(/^lock:\s.*OFDLCK.*\s([0-9a-f]+:[0-9a-f]+):(\d+)\s/gm)) {
      if (Number(number) !== inode) continue
      if (at === device) return true
      // Some file systems give their files a number of a device that locks do not bear (btrfs).
      if ((await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')) === path) return true
    }
  }
  return false
}

async function programOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'a program')).trim()
}
