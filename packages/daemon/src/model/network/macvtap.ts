/**
 * Networks of mode macvtap: which links of the host can carry guests, what the host would lose by it, and whom the guests reach.
 *
 * Facts: the kernel's drivers/net/macvlan.c. A link takes either any number of macvtaps, each with a MAC address of its own, or one that is
 * passthru and has all that comes in. What the host itself sends leaves by the link and never comes back to a macvtap on it.
 */
import { createHash } from 'node:crypto'
import type { MacvtapMode } from '@kvasir/contract'
import { parseAddress } from './address.ts'
import type { HostLink, HostNetwork } from './host-network.ts'
import type { Wire } from './wires.ts'

/** The link of that name that guests can be put on, or in words why they cannot. */
export function macvtapLinkOf(name: string, links: readonly HostLink[]): HostLink | string {
  const link = links.find((one) => one.name === name)
  if (!link) {
    const usable = links.filter((one) => obstacleOf(one) === undefined).map((one) => one.name)
    return `the host has no link ${name}; ${usable.length === 0 ? 'it has none that guests can be put on' : `guests can be put on ${usable.join(', ')}`}`
  }
  return obstacleOf(link) ?? link
}

/** Kinds of links that are somebody's end of something, and not a way to a LAN. */
const others: Readonly<Record<string, string>> = {
  tun: 'is the tap of a program',
  macvtap: 'is a macvtap itself; name the link below it',
  macvlan: 'is a macvlan itself; name the link below it',
  ipvlan: 'is an ipvlan itself; name the link below it',
  ipvtap: 'is an ipvtap itself; name the link below it',
}

function obstacleOf(link: HostLink): string | undefined {
  const { name, kind, bridge, type = 'ether' } = link
  if (kind === 'bridge')
    return `the link ${name} of the host is a bridge; --mode bridge --bridge ${name} puts guests on it`
  if (type !== 'ether') return `the link ${name} of the host is no Ethernet (${type})`
  const what = kind === undefined ? undefined : others[kind]
  if (what !== undefined) return `the link ${name} of the host ${what}`
  if (bridge !== undefined)
    return `the link ${name} of the host is a port of ${bridge}, which has all that comes in by it; ${bridge} may be what is meant`
  if (link.isWireless)
    return `the link ${name} of the host is wireless, and an access point takes no frames with the MAC addresses of guests; a network of mode nat reaches the world over it`
  if (link.isDown) return `the link ${name} of the host is down; ip link set ${name} up brings it up`
  return undefined
}

/** What the host would lose if one guest had all that comes in by a link, as a clause; undefined where that is nothing. */
export function passthruHarm(link: string, { addresses, ways = [] }: HostNetwork): string | undefined {
  const own = addresses.filter((one) => one.link === link && !isLinkLocal(one.address))
  const words = [
    ...(own.length > 0
      ? [`its ${own.length === 1 ? 'address' : 'addresses'} ${own.map(({ address }) => address).join(', ')}`]
      : []),
    ...(ways.some((way) => way.link === link) ? ['its way out (the default route)'] : []),
  ]
  if (words.length === 0) return undefined
  return `the host has ${words.join(' and ')} on the link ${link}, and would be reached there no more: all that comes in would go to the guest, whose MAC address the link would have`
}

function isLinkLocal(address: string): boolean {
  const parsed = parseAddress(address.split('/')[0] ?? '')
  return parsed?.family === 6 && parsed.value >> 118n === 0x3fan
}

/** Whom the guests of a network reach, for people who did not expect it. */
export function reachOf(link: string, mode: MacvtapMode): string {
  const host = `This host and its guests do not reach each other over ${link}, whatever addresses they have; a second NIC on a network of mode isolated is a way between them.`
  switch (mode) {
    case 'bridge':
      return `Guests reach each other and the LAN of ${link}. ${host}`
    case 'vepa':
      return `Guests reach the LAN of ${link}, and each other only where its switch sends back what it gets from them (802.1Qbg, reflective relay). ${host}`
    case 'private':
      return `Guests reach the LAN of ${link}, and never each other. ${host}`
    case 'passthru':
      return `One guest at a time has ${link} for itself, with its own MAC address; the host receives nothing by it meanwhile.`
  }
}

/**
 * The group of the links of a network's macvtaps: the mark by which they are known as its. The kernel sets it in the moment in which it makes
 * the link, where a MAC address would not do: a macvtap that is passthru begins with that of the link.
 */
export function macvtapGroup(networkId: string): number {
  const digits = createHash('sha256').update(`macvtap ${networkId}`).digest('hex').slice(0, 8)
  return (Number.parseInt(digits, 16) & 0x3fffffff) | 0x40000000
}

/** The NIC that has a passthru link, other than those of one VM that are named; undefined where it is free. */
export function holderOfLink(
  wires: readonly Wire[],
  own: { readonly vm: string; readonly nic: string },
): Wire | undefined {
  return wires.find(({ vm, nic }) => vm !== own.vm || nic !== own.nic)
}
