/** What a host has of networks, as far as a new one could collide with it. */
import type { HostPf } from './vf-pool.ts'

/** A link of the host. */
export interface HostLink {
  readonly name: string
  /** `bridge`, `veth`, `tun` ...; undefined for a physical one. */
  readonly kind: string | undefined
  readonly mac: string | undefined
  readonly mtu: number
  /** The bridge, or the bond, that it belongs to. */
  readonly bridge: string | undefined
  /** It is a bridge that tells VLANs apart. */
  readonly hasVlans?: boolean | undefined
  /** Not `ether`: `loopback`, `none` ... */
  readonly type?: string
  readonly isDown?: true
  /** It is up and has no carrier: there is no cable, or nobody at its other end. */
  readonly lacksCarrier?: true
  readonly isWireless?: true
}

/** An address that a link has, as `192.0.2.7/24`. */
export interface HostAddress {
  readonly link: string
  readonly address: string
}

/** A route to somewhere, as `10.0.0.0/8`; default routes are none. */
export interface HostRoute {
  readonly link: string | undefined
  readonly to: string
}

/** A default route, or one of its ways. */
export interface HostWay {
  readonly link: string
  readonly via: string | undefined
  /** It is one way of several of one route. */
  readonly isShared: boolean
}

/** A program that looks after a link, in a word. */
export interface LinkKeeper {
  readonly link: string
  readonly keeper: string
}

export interface HostNetwork {
  readonly links: readonly HostLink[]
  readonly addresses: readonly HostAddress[]
  readonly routes: readonly HostRoute[]
  /** Its devices with SR-IOV; absent: none. */
  readonly pfs?: readonly HostPf[] | undefined
  readonly ways?: readonly HostWay[]
  readonly keepers?: readonly LinkKeeper[]
}
