/**
 * Which programs look after links of the host and may give them back what was moved: NetworkManager, systemd-networkd, ifupdown, and clients of
 * DHCP. Facts: the files in which each says so at run time (systemd's networkd-link.c, NetworkManager's nm-config.c, ifup(8)).
 */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { LinkKeeper } from '../../model/network/host-network.ts'

const clients = /^(dhclient|dhcpcd|udhcpc|dhcp6c)$/

/** The keepers of these links; those of the host's network alone, whatever the numbers of links are elsewhere. */
export async function readKeepers(
  links: readonly { readonly name: string; readonly index: number }[],
  { run = '/run', proc = '/proc' }: { readonly run?: string; readonly proc?: string } = {},
): Promise<readonly LinkKeeper[]> {
  const found: LinkKeeper[] = []
  if (run !== '/run' || (await isHostNetwork())) {
    const ifupdown = await textOf(join(run, 'network/ifstate'))
    for (const { name, index } of links) {
      const networkd = await textOf(join(run, 'systemd/netif/links', String(index)))
      if (/^ADMIN_STATE=(configured|configuring|degraded)$/m.test(networkd))
        found.push({ link: name, keeper: 'systemd-networkd' })
      const manager = await textOf(join(run, 'NetworkManager/devices', String(index)))
      if (/^managed=(1|true|full)$/m.test(manager)) found.push({ link: name, keeper: 'NetworkManager' })
      if (ifupdown.split('\n').some((line) => line.split('=')[0] === name))
        found.push({ link: name, keeper: 'ifupdown' })
    }
  }
  return [...found, ...(await clientsOf(links, proc))]
}

async function clientsOf(
  links: readonly { readonly name: string }[],
  proc: string,
): Promise<readonly LinkKeeper[]> {
  const found: LinkKeeper[] = []
  for (const pid of await readdir(proc).catch(() => [])) {
    if (!/^\d+$/.test(pid)) continue
    const program = (await textOf(join(proc, pid, 'comm'))).trim()
    if (!clients.test(program)) continue
    const words = (await textOf(join(proc, pid, 'cmdline'))).split('\0')
    for (const { name } of links)
      if (words.includes(name)) found.push({ link: name, keeper: `${program} (pid ${pid})` })
  }
  return found
}

async function isHostNetwork(): Promise<boolean> {
  const [own, first] = await Promise.all(
    ['self', '1'].map((of) => readlink(`/proc/${of}/ns/net`).catch(() => of)),
  )
  return own === first
}

async function textOf(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '')
}
