/** Reads links, addresses and routes of the host, as ip(8) tells them. Forms: iproute2's JSON, of 5.10 and later. */
import { z } from 'zod'
import type { HostNetwork } from '../../model/network/host-network.ts'
import { readPfs } from '../devices/virtual-functions.ts'
import { askIp } from './network-commands.ts'

const link = z.object({
  ifname: z.string(),
  address: z.string().optional(),
  mtu: z.number(),
  master: z.string().optional(),
  linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
})

const addressed = z.object({
  ifname: z.string().optional(),
  addr_info: z
    .array(z.object({ local: z.string().optional(), prefixlen: z.number().optional() }))
    .default([]),
})

const route = z.object({ dst: z.string(), dev: z.string().optional(), type: z.string().default('unicast') })

/** The host's network as it is now. */
export async function surveyHost(): Promise<HostNetwork> {
  const [pfs, links, addresses, routes4, routes6] = await Promise.all([
    readPfs(),
    askIp(['-details', 'link', 'show']),
    askIp(['address', 'show']),
    askIp(['-4', 'route', 'show', 'table', 'all']),
    askIp(['-6', 'route', 'show', 'table', 'all']),
  ])
  return {
    links: z
      .array(link)
      .parse(links)
      .map(({ ifname, address, mtu, master, linkinfo }) => ({
        name: ifname,
        kind: linkinfo?.info_kind,
        mac: address,
        mtu,
        bridge: master,
      })),
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

/** A route to one host is told without a prefix. */
function readRoutes(answer: unknown, bits: number): HostNetwork['routes'] {
  return z
    .array(route)
    .parse(answer)
    .filter(({ type, dst }) => type === 'unicast' && dst !== 'default')
    .map(({ dst, dev }) => ({ link: dev, to: dst.includes('/') ? dst : `${dst}/${bits}` }))
}
