/** Bridges of the host that others made, and whether guests can be put on one. */
import type { HostLink } from './host-network.ts'
import type { NetworkSpec } from './network-record.ts'

/** Why a bridge of others cannot have ports with VLANs; it is theirs to change. */
export function vlansMissing(
  { bridge, vlans }: Pick<NetworkSpec, 'bridge' | 'vlans'>,
  found: HostLink,
): string | undefined {
  if (vlans === undefined || found.hasVlans === true) return undefined
  return `the bridge ${bridge} does not tell VLANs apart, and it is not the network's own; whoever looks after it can have it do so: ip link set ${bridge} type bridge vlan_filtering 1`
}

/** The bridge of that name, or in words why there is none. */
export function bridgedOf(name: string, links: readonly HostLink[]): HostLink | string {
  const found = links.find((link) => link.name === name)
  if (found?.kind === 'bridge') return found
  const bridges = links.flatMap((link) => (link.kind === 'bridge' ? [link.name] : []))
  const others = bridges.length === 0 ? 'it has no bridge' : `its bridges are ${bridges.join(', ')}`
  return found
    ? `the link ${name} of the host is no bridge; ${others}`
    : `the host has no link ${name}; ${others}`
}
