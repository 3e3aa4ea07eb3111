/** From a network of mode sriov as it was asked for to what its row says. Who has which address there is the LAN's to say. */
import { KvasirError, type NewNetwork } from '@kvasir/contract'
import { dnsLabel } from './dns-label.ts'
import type { HostLink } from './host-network.ts'
import type { NetworkSpec } from './network-record.ts'
import { type HostPf, planPool } from './vf-pool.ts'

/** `network-refused` for a physical function that there is not, or that cannot have so many virtual functions. */
export function resolveSriov(
  wanted: NewNetwork,
  host: { readonly id: string; readonly links: readonly HostLink[]; readonly pfs: readonly HostPf[] },
): NetworkSpec {
  const { name, bridge, ipv4, ipv6, reservations, sriov } = wanted
  const isAddressed = ipv4 !== false && (ipv4.subnet ?? ipv4.gateway ?? typeof ipv4.dhcp === 'object')
  const isNamed = reservations.length > 0 || wanted.records.length > 0 || wanted.domain !== undefined
  if (isAddressed || ipv6 || isNamed)
    throw refused(name, 'a network of mode sriov gives neither addresses nor names; the LAN does')
  if (bridge !== undefined) throw refused(name, 'a network of mode sriov has no bridge')
  const [first] = sriov?.pfs ?? []
  if (sriov === undefined || first === undefined)
    throw refused(name, `of mode sriov, it needs the name of a physical function; ${pfsOf(host.pfs)}`)
  for (const link of sriov.pfs) {
    if (!host.links.some((known) => known.name === link))
      throw refused(name, `the host has no link ${link}; ${pfsOf(host.pfs)}`)
    const found = host.pfs.find(({ pf }) => pf === link)
    if (found === undefined)
      throw refused(name, `the device of the link ${link} has no SR-IOV; ${pfsOf(host.pfs)}`)
    const plan = planPool(link, found, sriov.vfs)
    if (plan.kind === 'refuse') throw refused(name, plan.why)
  }
  const mtus = host.links.flatMap((link) => (sriov.pfs.includes(link.name) ? [link.mtu] : []))
  const none = { ipv4: undefined, ipv6: undefined, reservations: [] } as const
  const domain = `${dnsLabel(name)}.internal`
  return { id: host.id, name, mode: 'sriov', mtu: Math.min(...mtus), bridge: first, sriov, domain, ...none }
}

function pfsOf(pfs: readonly HostPf[]): string {
  if (pfs.length === 0) return 'no interface of this host has SR-IOV'
  return `those with SR-IOV are ${pfs.map(({ pf, totalVfs }) => `${pf} (up to ${totalVfs})`).join(', ')}`
}

function refused(name: string, why: string): KvasirError {
  return new KvasirError('network-refused', `Network ${name} cannot be made: ${why}.`, {
    details: { network: name },
  })
}
