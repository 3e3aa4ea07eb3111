/** A network as callers see it: its row, and what was last seen of it. */
import { KvasirError, type Network } from '@kvasir/contract'
import { hasGuards } from '../../model/network/guard-rules.ts'
import { bridgeMac, tableName } from '../../model/network/link-names.ts'
import { reachOf } from '../../model/network/macvtap.ts'
import type { Ports } from '../../ports/ports.ts'
import type { NetworkRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { holdersAmong } from '../host/host-devices.ts'

/** The network, as it is known now. */
export function showNetwork(
  record: NetworkRecord,
  { networks, drivers }: Pick<Context, 'networks' | 'drivers'>,
): Network {
  const { id, name, mode, autostart, mtu, domain, reservations, createdAt, ipv4, ipv6 } = record
  const { uplink, vlans } = record
  const { state, reason, since, findings, repairs, dnsmasqPid, uplinks } = networks.seen(record)
  return {
    name,
    id,
    mode,
    state,
    reason,
    since,
    autostart,
    ...linkOf(record),
    ...(['bridge', 'macvtap', 'sriov'].includes(mode) ? {} : { mac: bridgeMac(id), table: tableName(id) }),
    ...(uplink ? { uplink: uplink.link, force: uplink.force } : {}),
    uplinks: [...uplinks],
    vlanAware: vlans !== undefined,
    ...(vlans?.vlan === undefined ? {} : { vlan: vlans.vlan }),
    ...(vlans?.trunk === undefined ? {} : { trunk: [...vlans.trunk] }),
    mtu,
    ...(ipv4 ? { ipv4: { subnet: ipv4.subnet, gateway: ipv4.gateway, ...dhcpOf(ipv4) } } : {}),
    ...(ipv6 ? { ipv6 } : {}),
    ...(record.sriov ? { sriov: { ...record.sriov, pools: poolsOf(record, { networks, drivers }) } } : {}),
    domain,
    reservations: [...reservations],
    records: [...(record.records ?? [])],
    ...(record.started && hasGuards(networks.wires(record)) ? { guardTable: tableName(id) } : {}),
    ...(dnsmasqPid === undefined ? {} : { dnsmasqPid }),
    findings: [...findings],
    repairs: [...repairs],
    createdAt,
  }
}

/** What the cables of its guests lead to. */
function linkOf({ bridge, macvtap, forced }: NetworkRecord) {
  if (macvtap === undefined) return { bridge }
  const how = { link: bridge, macvtapMode: macvtap, reach: reachOf(bridge, macvtap) }
  return forced ? { ...how, force: true } : how
}

/** The row of a network. `network-not-found` when there is none. */
export function requireNetwork(name: string, { store }: Pick<Ports, 'store'>): NetworkRecord {
  const network = store.networks.findByName(name)
  if (network && network.phase !== 'creating') return network
  throw new KvasirError('network-not-found', `There is no network ${name}.`, { details: { network: name } })
}

function poolsOf(
  record: NetworkRecord,
  { networks, drivers }: Pick<Context, 'networks' | 'drivers'>,
): NonNullable<Network['sriov']>['pools'] {
  const holders = holdersAmong(drivers.list().map((driver) => driver.view().record))
  return networks.sight(record).pools.map(({ pf, address, totalVfs, made, vfs }) => ({
    pf,
    ...(address === undefined ? {} : { address }),
    totalVfs,
    ...(made === undefined ? {} : { made }),
    vfs: vfs.map((vf) => {
      const vm = holders.get(vf.address)
      return {
        address: vf.address,
        ...(vf.driver === undefined ? {} : { driver: vf.driver }),
        interfaces: vf.interfaces.map(({ link }) => link),
        ...(vm === undefined ? {} : { vm }),
      }
    }),
  }))
}

function dhcpOf({ dhcp }: NonNullable<NetworkRecord['ipv4']>) {
  return dhcp === undefined ? {} : { dhcp }
}
