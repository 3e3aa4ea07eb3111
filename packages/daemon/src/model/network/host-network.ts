/** What a host has of networks, as far as a new one could collide with it. */
import type { HostPf } from './vf-pool.ts'

/** A link of the host. */
export interface HostLink {
  readonly name: string
  /** `bridge`, `veth`, `tun` ...; undefined for a physical one. */
  readonly kind: string | undefined
  readonly mac: string | undefined
  readonly mtu: number
  /** The bridge that it is a port of. */
  readonly bridge: string | undefined
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

export interface HostNetwork {
  readonly links: readonly HostLink[]
  readonly addresses: readonly HostAddress[]
  readonly routes: readonly HostRoute[]
  /** Its devices with SR-IOV; absent: none. */
  readonly pfs?: readonly HostPf[] | undefined
}
