/** A network as its row remembers it: what was asked for, with all that was left open decided. */
import type { DnsRecord, MacvtapMode, NetworkMode, Reservation, SriovSpec } from '@kvasir/contract'
import type { PortVlans } from './port-vlans.ts'

/** What of a network does not change while it lives. */
export interface NetworkSpec {
  readonly id: string
  readonly name: string
  readonly mode: NetworkMode
  /** The bridge that guests are on, or the link below their macvtaps; of mode sriov, the interface of its first physical function. */
  readonly bridge: string
  /** The link of the host around which its bridge is made; of mode bridge. */
  readonly uplink?: { readonly link: string; readonly force: boolean } | undefined
  /** Its bridge tells VLANs apart: those of NICs that name none. */
  readonly vlans?: PortVlans | undefined
  /** Absent unless its mode is macvtap. */
  readonly macvtap?: MacvtapMode | undefined
  /** Its link may be taken from the host. */
  readonly forced?: boolean | undefined
  readonly mtu: number
  readonly ipv4: NetworkIpv4 | undefined
  readonly ipv6: NetworkIpv6 | undefined
  /** Of mode sriov. */
  readonly sriov?: NetworkSriov | undefined
  readonly domain: string
  readonly reservations: readonly Reservation[]
  /** Of its DNS, besides the names of guests; absent in what an older version wrote down. */
  readonly records?: readonly DnsRecord[] | undefined
}

/** What its virtual functions are of, and what they are set to. */
export interface NetworkSriov extends Omit<SriovSpec, 'vfs' | 'vlan' | 'minSend'> {
  readonly vfs?: number | undefined
  readonly vlan?: number | undefined
  readonly minSend?: number | undefined
}

export interface NetworkIpv4 {
  /** As `192.168.150.0/24`. */
  readonly subnet: string
  readonly gateway: string
  /** Absent: guests are given no addresses. */
  readonly dhcp: { readonly first: string; readonly last: string } | undefined
}

export interface NetworkIpv6 {
  /** A /64. */
  readonly subnet: string
  readonly gateway: string
  /** DHCPv6 besides SLAAC. */
  readonly dhcp: boolean
}
