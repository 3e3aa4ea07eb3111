/**
 * The sockets of the host that wait for callers, with the program that has each where it can be seen. Forms: /proc/net/tcp of the kernel's
 * Documentation/networking/proc_net_tcp.rst; udp and the ones of IPv6 are alike. Read in this process's network namespace.
 */
import { readdir, readFile, readlink } from 'node:fs/promises'
import type { HostListener } from '../../model/network/port-claims.ts'
import { parseListeners, type SocketRow } from '../../model/network/socket-tables.ts'

const tables = [
  ['tcp', 'tcp'],
  ['tcp', 'tcp6'],
  ['udp', 'udp'],
  ['udp', 'udp6'],
] as const

/** All of them. What ends meanwhile is left out. */
export async function hostListeners(): Promise<readonly HostListener[]> {
  const rows: SocketRow[] = []
  for (const [protocol, file] of tables)
    rows.push(...parseListeners(await readFile(`/proc/self/net/${file}`, 'latin1').catch(() => ''), protocol))
  const programs = await programsOf(new Set(rows.map(({ inode }) => inode)))
  return rows.map(({ inode, ...row }) => ({ ...row, program: programs.get(inode) }))
}

async function programsOf(inodes: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const programs = new Map<string, string>()
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || programs.size === inodes.size) continue
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
      if (inode === undefined || !inodes.has(inode) || programs.has(inode)) continue
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      programs.set(inode, `${name} (pid ${pid})`)
    }
  }
  return programs
}
