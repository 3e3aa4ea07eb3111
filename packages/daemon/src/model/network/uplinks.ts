/**
 * Links of the host around which a bridge can be made. What they carry of the host's own goes to the bridge, so one that the host is reached
 * by is taken only by who says so, and so is one that another program looks after, which may put back what was moved.
 */
import type { HostLink, HostNetwork } from './host-network.ts'
import type { NetworkSpec } from './network-record.ts'

/** Kinds that carry Ethernet frames of others; a physical link has none. */
const portKinds = ['bond', 'team', 'vlan', 'veth', 'vxlan', 'dummy', 'ipoib', 'gretap', 'ip6gretap']

/** Why a bridge cannot be made around the uplink of a network; undefined where it can. */
export function uplinkRefusal(
  { uplink, bridge }: Pick<NetworkSpec, 'uplink' | 'bridge'>,
  host: HostNetwork,
): string | undefined {
  if (uplink === undefined) return undefined
  const { link, force } = uplink
  const found = host.links.find(({ name }) => name === link)
  if (!found) return `the host has no link ${link} to make a bridge around; it has ${candidates(host)}`
  if (link === 'lo' || (found.kind !== undefined && !portKinds.includes(found.kind)))
    return `the link ${link} of the host is ${link === 'lo' ? 'its loopback' : `a ${found.kind}`}, around which no bridge is made; it has ${candidates(host)}`
  if (found.bridge !== undefined && found.bridge !== bridge) {
    const isBridge = host.links.some(({ name, kind }) => name === found.bridge && kind === 'bridge')
    const instead = isBridge
      ? `; name that bridge instead of an uplink`
      : `; name ${found.bridge} as the uplink`
    return `the link ${link} belongs to ${found.bridge} already${instead}`
  }
  const ways = (host.ways ?? []).filter((way) => way.link === link)
  if (ways.some(({ isShared }) => isShared))
    return `the link ${link} is one way of several of a route of the host, which cannot be moved as a whole`
  if (force) return undefined
  const keepers = (host.keepers ?? []).filter((kept) => kept.link === link).map(({ keeper }) => keeper)
  const [way] = ways
  if (way === undefined && keepers.length === 0) return undefined
  return `${whyCare(link, { via: way && (way.via ?? 'the LAN'), keepers })}. With force, ${consequence(found, host)}`
}

function whyCare(
  link: string,
  { via, keepers }: { readonly via: string | undefined; readonly keepers: readonly string[] },
): string {
  const carries = via === undefined ? [] : [`carries the host's default route (by ${via})`]
  const kept =
    keepers.length === 0
      ? []
      : [
          `is in the care of ${keepers.join(' and ')}, which may put back what is moved unless it is told to leave the link alone`,
        ]
  return `the link ${link} ${[...carries, ...kept].join(', and ')}`
}

/** What would happen, for who has to consent to it. */
function consequence({ name }: HostLink, { addresses, ways = [] }: HostNetwork): string {
  const own = addresses.flatMap(({ link, address }) =>
    link === name && !address.startsWith('fe80:') ? [address] : [],
  )
  const has =
    own.length === 0 ? 'it has no addresses to move' : `its addresses (${own.join(', ')}) and routes`
  const default_ = ways.some(({ link }) => link === name) ? ', the default route among them,' : ''
  return own.length === 0
    ? `${name} becomes a port of the bridge; ${has}`
    : `${has}${default_} go to the bridge in one step, and back when the network stops; connections go on, and rules of firewalls that name ${name} no longer match what is for the host`
}

function candidates({ links }: HostNetwork): string {
  const names = links.flatMap(({ name, kind, bridge }) =>
    name !== 'lo' && bridge === undefined && (kind === undefined || portKinds.includes(kind)) ? [name] : [],
  )
  return names.length === 0 ? 'none that could be one' : names.join(', ')
}
