/** Reads links, addresses and routes of the host, as ip(8) tells them. Forms: iproute2's JSON, of 5.10 and later. */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { HostLink, HostNetwork, HostWay } from '../../model/network/host-network.ts'
import { readPfs } from '../devices/virtual-functions.ts'
import { readKeepers } from './link-keepers.ts'
import { askIp } from './network-commands.ts'

const link = z.object({
  ifindex: z.number().default(0),
  ifname: z.string().optional(),
  address: z.string().optional(),
  mtu: z.number().optional(),
  master: z.string().optional(),
  link_type: z.string().default('ether'),
  flags: z.array(z.string()).default([]),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z.object({ vlan_filtering: z.number().optional() }).optional().catch(undefined),
    })
    .optional(),
})

const addressed = z.object({
  ifname: z.string().optional(),
  addr_info: z
    .array(z.object({ local: z.string().optional(), prefixlen: z.number().optional() }))
    .default([]),
})

const way = z.object({ dev: z.string().optional(), gateway: z.string().optional() })

const route = way.extend({
  dst: z.string(),
  type: z.string().default('unicast'),
  nexthops: z.array(way).default([]),
})

/** The host's network as it is now. */
export async function surveyHost(): Promise<HostNetwork> {
  const [pfs, links, addresses, routes4, routes6] = await Promise.all([
    readPfs(),
    askIp(['-details', 'link', 'show']),
    askIp(['address', 'show']),
    askIp(['-4', 'route', 'show', 'table', 'all']),
    askIp(['-6', 'route', 'show', 'table', 'all']),
  ])
  const seen = z.array(link).parse(links)
  const named = seen.flatMap(({ ifname, ifindex }) => (ifname ? [{ name: ifname, index: ifindex }] : []))
  return {
    links: await withWireless(seen),
    keepers: await readKeepers(named),
    ways: [...readWays(routes4), ...readWays(routes6)],
    addresses: z
      .array(addressed)
      .parse(addresses)
      .flatMap(({ ifname, addr_info }) =>
        addr_info.flatMap(({ local, prefixlen }) =>
          ifname === undefined || local === undefined || prefixlen === undefined
            ? []
            : [{ link: ifname, address: `${local}/${prefixlen}` }],
        ),
      ),
    routes: [...readRoutes(routes4, 32), ...readRoutes(routes6, 128)],
    pfs,
  }
}

/** The links of the host as they are now, with all that is asked of one that guests are put on. */
export async function hostLinks(): Promise<readonly HostLink[]> {
  return await withWireless(z.array(link).parse(await askIp(['-details', 'link', 'show'])))
}

async function withWireless(links: readonly z.output<typeof link>[]): Promise<readonly HostLink[]> {
  return await Promise.all(
    linksOf(links).map(async (one, at) => ({
      ...one,
      ...((await isWireless(one.name, links[at]?.ifindex)) ? { isWireless: true as const } : {}),
    })),
  )
}

/** /sys may show the links of another network namespace, so the number has to be the same. */
async function isWireless(name: string, index: number | undefined): Promise<boolean> {
  const words = (await readFile(`/sys/class/net/${name}/uevent`, 'utf8').catch(() => '')).split('\n')
  return words.includes('DEVTYPE=wlan') && words.includes(`IFINDEX=${index}`)
}

/** Links in our words. */
export function linksOf(
  links: readonly (Omit<z.output<typeof link>, 'ifindex' | 'link_type' | 'flags'> &
    Partial<z.output<typeof link>>)[],
): readonly HostLink[] {
  return links.map(({ ifname = '', address, mtu = 0, master, linkinfo, link_type = 'ether', flags }) => ({
    name: ifname,
    kind: linkinfo?.info_kind,
    mac: address,
    mtu,
    bridge: master,
    ...(linkinfo?.info_data?.vlan_filtering === 1 ? { hasVlans: true } : {}),
    ...(link_type === 'ether' ? {} : { type: link_type }),
    ...(flags === undefined || flags.includes('UP') ? {} : { isDown: true as const }),
    ...(flags?.includes('NO-CARRIER') ? { lacksCarrier: true as const } : {}),
  }))
}

/** The ways of default routes, and those of any other route that has several. */
function readWays(answer: unknown): readonly HostWay[] {
  return z
    .array(route)
    .parse(answer)
    .flatMap(({ dst, dev, gateway, nexthops }) => {
      const shared = nexthops.length > 0
      const ways = shared ? nexthops : dst === 'default' ? [{ dev, gateway }] : []
      return ways.flatMap((one) =>
        one.dev === undefined ? [] : [{ link: one.dev, via: one.gateway, isShared: shared }],
      )
    })
}

/** A route to one host is told without a prefix. */
function readRoutes(answer: unknown, bits: number): HostNetwork['routes'] {
  return z
    .array(route)
    .parse(answer)
    .filter(({ type, dst }) => type === 'unicast' && dst !== 'default')
    .map(({ dst, dev }) => ({ link: dev, to: dst.includes('/') ? dst : `${dst}/${bits}` }))
}
