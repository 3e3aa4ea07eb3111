/** What of a host and of other networks a subnet would collide with. */
import { formatSubnet, overlap, parseSubnet, type Subnet } from './address.ts'
import type { HostNetwork } from './host-network.ts'
import type { NetworkSpec } from './network-record.ts'

/** Routes shorter than this are a default route in parts, as VPNs make them (0.0.0.0/1 and 128.0.0.0/1). */
const shortestRoute = { 4: 2, 6: 4 } as const

/** What has a subnet, and a word for it. */
export interface TakenSubnet {
  readonly subnet: Subnet
  readonly holder: string
}

/** Everything that a new subnet may not overlap. */
export function takenSubnets(host: HostNetwork, networks: readonly NetworkSpec[]): readonly TakenSubnet[] {
  return [
    ...networks.flatMap(({ name, ipv4, ipv6 }) =>
      [ipv4?.subnet, ipv6?.subnet].flatMap((text) => taken(text, `network ${name}`)),
    ),
    ...host.addresses.flatMap(({ link, address }) =>
      taken(address, `the address ${address} of link ${link}`),
    ),
    ...host.routes.flatMap(({ link, to }) =>
      taken(to, `the host's route to ${to}${link === undefined ? '' : ` by link ${link}`}`),
    ),
  ]
}

/** The first thing that a subnet overlaps, in words. */
export function collisionOf(subnet: Subnet, all: readonly TakenSubnet[]): string | undefined {
  return all.find((other) => overlap(subnet, other.subnet))?.holder
}

/** Private subnets in the order in which they are tried: none that routers at home, Docker or libvirt come with. */
function* candidates(): Generator<string> {
  for (let third = 150; third < 200; third++) yield `192.168.${third}.0/24`
  for (let third = 0; third < 256; third++) yield `10.213.${third}.0/24`
  for (let third = 0; third < 256; third++) yield `172.29.${third}.0/24`
}

/** A subnet for guests that overlaps nothing; undefined when all that are tried do. */
export function freeSubnet(all: readonly TakenSubnet[]): string | undefined {
  for (const candidate of candidates()) {
    const subnet = parseSubnet(candidate)
    if (subnet && collisionOf(subnet, all) === undefined) return formatSubnet(subnet)
  }
  return undefined
}

function taken(text: string | undefined, holder: string): readonly TakenSubnet[] {
  const subnet = text === undefined ? undefined : parseSubnet(text)
  if (subnet === undefined || subnet.prefix < shortestRoute[subnet.family]) return []
  const isLinkLocal = subnet.family === 6 && subnet.base >> 118n === 0x3fan // fe80::/10, which every link has.
  return isLinkLocal ? [] : [{ subnet, holder }]
}
