/**
 * From a network as it was asked for to what its row says: the subnet chosen, the gateway and the range filled in, everything checked
 * against everything else. A refusal says what does not fit to what.
 *
 * Not here: whether a bridge of that name is somebody else's (host/networks), and the names of its own (link-names.ts).
 */
import type { NewNetwork } from '@kvasir/contract'
import {
  type Address,
  formatAddress,
  formatSubnet,
  isHost,
  lastOf,
  parseAddress,
  parseSubnet,
  type Subnet,
} from './address.ts'
import { collisionOf, freeSubnet, type TakenSubnet } from './collisions.ts'
import { defaultDomain } from './dns-label.ts'
import { requireRecords } from './dns-records.ts'
import type { HostNetwork } from './host-network.ts'
import { bridgeName } from './link-names.ts'
import type { NetworkIpv4, NetworkIpv6, NetworkSpec } from './network-record.ts'
import { refused } from './network-refused.ts'
import { resolveBridged } from './resolve-bridged.ts'
import { requireOwnFields, resolveMacvtap } from './resolve-macvtap.ts'
import { resolveReservations } from './resolve-reservations.ts'
import { resolveSriov } from './resolve-sriov.ts'

const longestIpv4Prefix = 30
const shortestIpv4Prefix = 8
const usualMtu = 1500
const ipv6Prefix = 64

/** Subnets that the protocols keep for themselves. */
const keptSubnets = [
  ['0.0.0.0/8', 'means this host'],
  ['127.0.0.0/8', 'is the loopback'],
  ['169.254.0.0/16', 'is link-local'],
  ['224.0.0.0/3', 'is multicast or kept'],
  ['::/8', 'is kept'],
  ['fe80::/10', 'is link-local'],
  ['ff00::/8', 'is multicast'],
] as const

/** Decides what was left open. `network-refused` for what does not fit together, or collides. */
export function resolveNetwork(
  wanted: NewNetwork,
  {
    id,
    taken,
    host = { links: [], addresses: [], routes: [] },
  }: { readonly id: string; readonly taken: readonly TakenSubnet[]; readonly host?: HostNetwork },
): NetworkSpec {
  const { name, mode, mtu = usualMtu } = wanted
  if (wanted.sriov && mode !== 'sriov')
    throw refused(name, `it names physical functions, which one of mode sriov has, and it is of mode ${mode}`)
  requireOwnFields(wanted)
  if (mode === 'bridge') return resolveBridged(wanted, { id, host })
  if (wanted.uplink !== undefined || wanted.vlanAware)
    throw refused(name, `one of mode ${mode} has neither an uplink nor VLANs; one of mode bridge has`)
  if ((wanted.vlan ?? wanted.trunk) !== undefined) throw refused(name, 'it has VLANs and is not VLAN-aware')
  if (mode === 'macvtap') return resolveMacvtap(wanted, { id, host })
  if (mode === 'sriov') return resolveSriov(wanted, { id, links: host.links, pfs: host.pfs ?? [] })
  const ipv4 = wanted.ipv4 === false ? undefined : resolveIpv4(wanted, taken)
  const ipv6 = wanted.ipv6 && resolveIpv6(name, wanted.ipv6, taken)
  if (!ipv4 && !ipv6) throw refused(name, 'it has neither IPv4 nor IPv6')
  const reservations = resolveReservations(name, wanted.reservations, { ipv4, ipv6 })
  const { records, domain = defaultDomain(name) } = wanted
  requireRecords({ name, domain, reservations, records })
  const bridge = wanted.bridge ?? bridgeName(id)
  return { id, name, mode, mtu, bridge, ipv4, ipv6, domain, reservations, records }
}

function resolveIpv4(
  { name, mode, ipv4 }: NewNetwork,
  taken: readonly TakenSubnet[],
): NetworkIpv4 | undefined {
  if (ipv4 === false) return undefined
  if (ipv4.subnet === undefined && mode === 'routed')
    throw refused(
      name,
      'a routed one needs a subnet that routers around the host send here, and none is named',
    )
  const text = ipv4.subnet ?? freeSubnet(taken)
  if (text === undefined)
    throw refused(name, 'every private subnet that is tried collides with something on the host; name one')
  const subnet = requireSubnet(name, text)
  if (subnet.prefix < shortestIpv4Prefix || subnet.prefix > longestIpv4Prefix)
    throw refused(
      name,
      `its subnet ${text} must have a prefix of ${shortestIpv4Prefix} to ${longestIpv4Prefix} bits`,
    )
  requireFree(name, subnet, taken)
  const gateway = requireGateway(name, ipv4.gateway, subnet)
  return {
    subnet: formatSubnet(subnet),
    gateway: formatAddress(gateway),
    dhcp: ipv4.dhcp === false ? undefined : rangeOf(name, { dhcp: ipv4.dhcp, subnet, gateway }),
  }
}

function resolveIpv6(
  name: string,
  { subnet: text, dhcp }: NonNullable<NewNetwork['ipv6']>,
  taken: readonly TakenSubnet[],
): NetworkIpv6 {
  const subnet = requireSubnet(name, text)
  if (subnet.prefix !== ipv6Prefix)
    throw refused(name, `its subnet ${text} must be a /${ipv6Prefix}: guests make their own addresses in it`)
  requireFree(name, subnet, taken)
  const gateway = formatAddress({ family: 6, value: subnet.base + 1n })
  return { subnet: formatSubnet(subnet), gateway, dhcp }
}

function requireSubnet(name: string, text: string): Subnet {
  const subnet = parseSubnet(text)
  if (subnet === undefined) throw refused(name, `${text} is not a subnet`)
  const address = parseAddress(text.split('/')[0] ?? '')
  if (address?.value !== subnet.base)
    throw refused(name, `${text} is an address in the subnet ${formatSubnet(subnet)}; name the subnet`)
  for (const [kept, why] of keptSubnets) {
    const other = parseSubnet(kept)
    if (other && collisionOf(subnet, [{ subnet: other, holder: kept }]) !== undefined)
      throw refused(name, `${kept} ${why}, so ${text} is not for guests`)
  }
  return subnet
}

function requireFree(name: string, subnet: Subnet, taken: readonly TakenSubnet[]): void {
  const holder = collisionOf(subnet, taken)
  if (holder !== undefined) throw refused(name, `its subnet ${formatSubnet(subnet)} collides with ${holder}`)
}

function requireGateway(name: string, text: string | undefined, subnet: Subnet): Address {
  const gateway = text === undefined ? { family: 4 as const, value: subnet.base + 1n } : parseAddress(text)
  if (!gateway || !isHost(gateway, subnet))
    throw refused(name, `its gateway ${text} is no address of a host in ${formatSubnet(subnet)}`)
  return gateway
}

function rangeOf(
  name: string,
  {
    dhcp,
    subnet,
    gateway,
  }: {
    readonly dhcp: true | { readonly first: string; readonly last: string }
    readonly subnet: Subnet
    readonly gateway: Address
  },
): NonNullable<NetworkIpv4['dhcp']> {
  if (dhcp === true) return freeRange(subnet, gateway)
  const [first, last] = [parseAddress(dhcp.first), parseAddress(dhcp.last)]
  const words = `its DHCP range ${dhcp.first} to ${dhcp.last}`
  if (!first || !last || !isHost(first, subnet) || !isHost(last, subnet))
    throw refused(name, `${words} is not inside ${formatSubnet(subnet)}`)
  if (first.value > last.value) throw refused(name, `${words} ends before it begins`)
  if (gateway.value >= first.value && gateway.value <= last.value)
    throw refused(name, `${words} holds its gateway ${formatAddress(gateway)}`)
  return { first: formatAddress(first), last: formatAddress(last) }
}

/** The larger of what is before the gateway and what is behind it. */
function freeRange(subnet: Subnet, gateway: Address): NonNullable<NetworkIpv4['dhcp']> {
  const [lowest, highest] = [subnet.base + 1n, lastOf(subnet) - 1n]
  const isBehind = highest - gateway.value >= gateway.value - lowest
  const [first, last] = isBehind ? [gateway.value + 1n, highest] : [lowest, gateway.value - 1n]
  return {
    first: formatAddress({ family: 4, value: first }),
    last: formatAddress({ family: 4, value: last }),
  }
}
