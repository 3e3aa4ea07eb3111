/** From a network of mode macvtap as it was asked for to what its row says. Who has which address there is the LAN's to say. */
import type { NewNetwork } from '@kvasir/contract'
import { defaultDomain } from './dns-label.ts'
import type { HostNetwork } from './host-network.ts'
import { macvtapLinkOf } from './macvtap.ts'
import type { NetworkSpec } from './network-record.ts'
import { refused } from './network-refused.ts'

/** On a link that stays what it is to the host. `network-refused` for one that carries no guests, or smaller packets. */
export function resolveMacvtap(
  wanted: NewNetwork,
  { id, host }: { readonly id: string; readonly host: HostNetwork },
): NetworkSpec {
  const { name, link, macvtapMode: macvtap = 'bridge', force, ipv4, ipv6, reservations, bridge } = wanted
  const isAddressed = ipv4 !== false && (ipv4.subnet ?? ipv4.gateway ?? typeof ipv4.dhcp === 'object')
  const isNamed = reservations.length > 0 || wanted.records.length > 0 || wanted.domain !== undefined
  if (isAddressed || ipv6 || isNamed)
    throw refused(name, 'a network of mode macvtap gives neither addresses nor names; the LAN does')
  if (bridge !== undefined) throw refused(name, 'of mode macvtap, it has a link of the host, and no bridge')
  if (force && macvtap !== 'passthru')
    throw refused(name, 'only a link that one guest has for itself (passthru) is taken by force')
  if (link === undefined) throw refused(name, 'of mode macvtap, it needs the name of a link of the host')
  const found = macvtapLinkOf(link, host.links)
  if (typeof found === 'string') throw refused(name, found)
  const mtu = wanted.mtu ?? found.mtu
  if (mtu > found.mtu)
    throw refused(
      name,
      `it is to have an MTU of ${mtu}, and the link ${link} takes packets of ${found.mtu} bytes at most`,
    )
  const none = { ipv4: undefined, ipv6: undefined, reservations: [] } as const
  const forced = force ? { forced: true } : {}
  return {
    id,
    name,
    mode: 'macvtap',
    macvtap,
    ...forced,
    mtu,
    bridge: link,
    domain: defaultDomain(name),
    ...none,
  }
}

/** What only one mode has is asked of no other: `network-refused`. */
export function requireOwnFields({ name, mode, link, macvtapMode, force, uplink }: NewNetwork): void {
  if (mode === 'macvtap') return
  const field = link !== undefined ? 'link' : macvtapMode !== undefined ? 'macvtapMode' : undefined
  if (field !== undefined) throw refused(name, `only one of mode macvtap has a ${field}, and it is ${mode}`)
  if (force && uplink === undefined)
    throw refused(name, 'there is nothing of the host for it to take by force')
}
