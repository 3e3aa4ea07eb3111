/**
 * What a change of a network would do: which fields are others then, and whether that goes while guests are on it.
 *
 * Its DHCP and its DNS are one process, which is replaced in a moment and keeps its leases. All else guests were told when they came, or is
 * what links and rules are made of: the network is stopped and started for it, which no VM may run on meanwhile.
 */
import {
  type MacvtapMode,
  type NetworkChange,
  type NetworkPlan,
  type NetworkPlanChange,
  type NewNetwork,
  newNetwork,
} from '@kvasir/contract'
import { isInside, parseAddress, parseSubnet } from './address.ts'
import type { NetworkSpec } from './network-record.ts'

type Changeable = NetworkSpec & { readonly autostart: boolean }

/** The network as it would have to be asked for to be the one that the change makes of it. */
export function wantedAfter(current: Changeable, change: NetworkChange): NewNetwork {
  const { name, mode, bridge, mtu, domain, reservations, records, autostart, sriov } = {
    ...current,
    ...change,
  }
  const isOnLan = mode === 'bridge' || mode === 'sriov' || mode === 'macvtap'
  const macvtapMode = change.macvtapMode ?? (mode === 'macvtap' ? current.macvtap : undefined)
  const { uplink = current.uplink?.link, force = forceOf(current, macvtapMode), vlanAware } = change
  const { vlan = current.vlans?.vlan, trunk = current.vlans?.trunk } = change
  return newNetwork.parse({
    name,
    mode,
    bridge: mode === 'sriov' || mode === 'macvtap' ? undefined : bridge,
    link: mode === 'macvtap' ? bridge : undefined,
    macvtapMode,
    sriov,
    mtu,
    uplink,
    force,
    vlanAware: vlanAware ?? current.vlans !== undefined,
    vlan: (vlanAware !== false && vlan) || undefined,
    trunk: (vlanAware !== false && trunk) || undefined,
    // Where the LAN gives names, none is asked for; one that is, is refused.
    domain: isOnLan ? change.domain : domain,
    reservations,
    records,
    autostart,
    ipv4: ipv4After(current, change),
    ipv6: change.ipv6 === undefined ? ipv6Of(current) : change.ipv6 || undefined,
  })
}

/** What was taken by force stays so, as long as there is something to be taken. */
function forceOf({ uplink, forced }: Changeable, macvtapMode: MacvtapMode | undefined): boolean | undefined {
  return uplink?.force ?? (macvtapMode === 'passthru' ? forced : undefined)
}

/** The changes between two states of a network, in the order of its fields. */
export function planNetworkChanges(
  from: Changeable,
  to: Changeable,
  { isStarted }: { readonly isStarted: boolean },
): NetworkPlan {
  const [before, after] = [fieldsOf(from), fieldsOf(to)]
  const changes = rules.flatMap(({ field, effect, reason }): readonly NetworkPlanChange[] => {
    const [old, next] = [before[field] ?? null, after[field] ?? null]
    if (JSON.stringify(old) === JSON.stringify(next)) return []
    const told = isStarted || field === 'autostart' ? { effect, reason } : offRule
    return [{ field, from: old, to: next, ...told }]
  })
  const needsRestart = changes.some(({ effect }) => effect === 'restart')
  const action = needsRestart ? 'restart' : changes.length > 0 ? 'change' : 'nothing'
  return { name: from.name, action, changes }
}

const offRule = {
  effect: 'next-start',
  reason: 'the network is not started and has it from its next start',
} as const

const bySetting = 'the physical function sets its virtual functions to it'

const rules = [
  { field: 'mode', effect: 'restart', reason: 'its rules and its routes are made of it' },
  {
    field: 'uplink',
    effect: 'restart',
    reason:
      "its bridge is made around it; the host's addresses and routes go back to the former one, and those of the other to the bridge",
  },
  { field: 'force', effect: 'live', reason: 'it counts when the uplink is taken next' },
  {
    field: 'vlanAware',
    effect: 'restart',
    reason: 'its bridge is made with it, and ports have theirs from there',
  },
  { field: 'vlan', effect: 'live', reason: 'ports of NICs that name no VLAN get it at once' },
  { field: 'trunk', effect: 'live', reason: 'ports of NICs that name no VLAN get it at once' },
  { field: 'macvtapMode', effect: 'restart', reason: 'the links of its guests are made of it' },
  { field: 'mtu', effect: 'restart', reason: 'links have it from when they are made' },
  { field: 'sriov.pfs', effect: 'restart', reason: 'guests have virtual functions of them' },
  { field: 'sriov.vfs', effect: 'restart', reason: 'a number of virtual functions is made at once' },
  { field: 'sriov.vlan', effect: 'live', reason: bySetting },
  { field: 'sriov.spoofCheck', effect: 'live', reason: bySetting },
  { field: 'sriov.trust', effect: 'live', reason: bySetting },
  { field: 'sriov.minSend', effect: 'live', reason: bySetting },
  { field: 'ipv4.subnet', effect: 'restart', reason: 'guests have addresses in it' },
  { field: 'ipv4.gateway', effect: 'restart', reason: 'guests were told of it' },
  {
    field: 'ipv4.dhcp',
    effect: 'live',
    reason: 'guests with an address outside of it get another when they renew theirs',
  },
  { field: 'ipv6.subnet', effect: 'restart', reason: 'guests have addresses in it' },
  { field: 'ipv6.dhcp', effect: 'live', reason: 'guests are told with the next advertisement' },
  {
    field: 'domain',
    effect: 'live',
    reason: 'its DNS knows guests by it at once; guests are told when they renew their addresses',
  },
  { field: 'reservations', effect: 'live', reason: 'a guest gets what is reserved for it when it asks next' },
  { field: 'records', effect: 'live', reason: 'its DNS says so at once' },
  { field: 'autostart', effect: 'live', reason: 'it counts when the host boots' },
] as const satisfies readonly Pick<NetworkPlanChange, 'field' | 'effect' | 'reason'>[]

function fieldsOf(network: Changeable) {
  const { mode, mtu, sriov, ipv4, ipv6, domain, reservations, autostart, uplink, vlans, macvtap } = network
  const fields: Readonly<Record<(typeof rules)[number]['field'], unknown>> = {
    mode,
    macvtapMode: macvtap,
    uplink: uplink?.link,
    force: uplink?.force ?? network.forced,
    vlanAware: vlans !== undefined,
    vlan: vlans?.vlan,
    trunk: vlans?.trunk,
    mtu: sriov ? undefined : mtu, // Its physical functions have it.
    'sriov.pfs': sriov?.pfs,
    'sriov.vfs': sriov?.vfs,
    'sriov.vlan': sriov?.vlan,
    'sriov.spoofCheck': sriov?.spoofCheck,
    'sriov.trust': sriov?.trust,
    'sriov.minSend': sriov?.minSend,
    'ipv4.subnet': ipv4?.subnet,
    'ipv4.gateway': ipv4?.gateway,
    'ipv4.dhcp': ipv4 && (ipv4.dhcp ?? false),
    'ipv6.subnet': ipv6?.subnet,
    'ipv6.dhcp': ipv6?.dhcp,
    domain,
    reservations: reservations.map(({ mac, address, ipv6: address6, name }) => ({
      mac,
      address,
      ipv6: address6,
      name,
    })),
    records: (network.records ?? []).map(({ name, type, value }) => `${name} ${type} ${value}`),
    autostart,
  }
  return fields
}

function ipv4After({ ipv4 }: Changeable, change: NetworkChange): unknown {
  if (change.ipv4 === undefined) return ipv4 ? { ...ipv4, dhcp: ipv4.dhcp ?? false } : false
  if (change.ipv4 === false || !ipv4) return change.ipv4
  const subnetText = change.ipv4.subnet ?? ipv4.subnet
  const [subnet, gateway] = [parseSubnet(subnetText), parseAddress(ipv4.gateway)]
  const keepsGateway = subnet && gateway && isInside(gateway, subnet) && subnetText === ipv4.subnet
  return {
    ...change.ipv4,
    subnet: subnetText,
    gateway: change.ipv4.gateway ?? (keepsGateway ? ipv4.gateway : undefined),
  }
}

function ipv6Of({ ipv6 }: Changeable): unknown {
  return ipv6 && { subnet: ipv6.subnet, dhcp: ipv6.dhcp }
}
