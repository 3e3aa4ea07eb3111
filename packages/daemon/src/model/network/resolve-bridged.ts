/**
 * Networks of mode bridge, from what was asked for to what the row says. Who has which address on the LAN is somebody else's to say, and how
 * large packets are is what the bridge, or the uplink, has.
 */
import type { NewNetwork } from '@kvasir/contract'
import { defaultDomain } from './dns-label.ts'
import { bridgedOf, vlansMissing } from './host-bridges.ts'
import type { HostNetwork } from './host-network.ts'
import { bridgeName } from './link-names.ts'
import type { NetworkSpec } from './network-record.ts'
import { refused } from './network-refused.ts'
import { uplinkRefusal } from './uplinks.ts'

/** On a bridge that is there, or one around an uplink. `network-refused`. */
export function resolveBridged(
  wanted: NewNetwork,
  { id, host }: { readonly id: string; readonly host: HostNetwork },
): NetworkSpec {
  const { name, ipv4, ipv6, reservations, uplink, force, vlanAware, vlan, trunk } = wanted
  const isAddressed = ipv4 !== false && (ipv4.subnet ?? ipv4.gateway ?? typeof ipv4.dhcp === 'object')
  const isNamed = reservations.length > 0 || wanted.records.length > 0 || wanted.domain !== undefined
  if (isAddressed || ipv6 || isNamed)
    throw refused(name, 'a network of mode bridge gives neither addresses nor names; the LAN does')
  if (!vlanAware && (vlan ?? trunk) !== undefined) throw refused(name, 'it has VLANs and is not VLAN-aware')
  const rest = {
    id,
    name,
    mode: 'bridge',
    domain: defaultDomain(name),
    ipv4: undefined,
    ipv6: undefined,
    reservations: [],
    ...(vlanAware ? { vlans: { ...(vlan ? { vlan } : {}), ...(trunk ? { trunk } : {}) } } : {}),
  } as const
  if (uplink !== undefined) {
    const own = { ...rest, bridge: wanted.bridge ?? bridgeName(id), uplink: { link: uplink, force } }
    const why = uplinkRefusal(own, host)
    const mtu = host.links.find((link) => link.name === uplink)?.mtu
    if (why !== undefined || mtu === undefined) throw refused(name, why ?? `the host has no link ${uplink}`)
    return { ...own, mtu }
  }
  const { bridge } = wanted
  if (bridge === undefined)
    throw refused(
      name,
      'of mode bridge, it needs the name of a bridge of the host, or of an uplink to make one around',
    )
  const found = bridgedOf(bridge, host.links)
  if (typeof found === 'string') throw refused(name, found)
  const missing = vlansMissing({ ...rest, bridge }, found)
  if (missing !== undefined) throw refused(name, missing)
  return { ...rest, bridge, mtu: found.mtu }
}
