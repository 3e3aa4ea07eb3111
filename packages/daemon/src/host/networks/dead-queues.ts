/** Queues of taps that a process has open and that lead nowhere any more. */
import { readdir, readFile } from 'node:fs/promises'

/**
 * Whether a process has a queue of a tap that was taken from the host. The kernel names the tap of each in its fdinfo, and no tap for one whose
 * tap is gone (drivers/net/tun.c, tun_chr_show_fdinfo); it wakes who polls such a queue for ever, so QEMU's main thread never rests.
 */
export async function hasDeadQueues(pid: number): Promise<boolean> {
  const folder = `/proc/${pid}/fdinfo`
  for (const fd of await readdir(folder).catch(() => [])) {
    const text = await readFile(`${folder}/${fd}`, 'utf8').catch(() => '') // It was closed meanwhile.
    if (/^iff:[ \t]*$/m.test(text)) return true
  }
  return false
}
