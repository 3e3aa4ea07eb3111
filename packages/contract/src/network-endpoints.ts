/** The endpoints of networks. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { linkName, resourceName } from './names.ts'
import {
  dhcpRange,
  domainName,
  lease,
  macvtapModes,
  network,
  networkLimits,
  networkModes,
  networkPlan,
  reservation,
} from './network.ts'
import { dnsRecord, mostRecords } from './network-dns.ts'
import { sriovSpec } from './network-sriov.ts'
import { queryFlag } from './parameters.ts'
import { isNativeInTrunk, vlanId, vlanTrunk } from './vlan.ts'

const byNetwork = z.strictObject({ network: resourceName })

const newIpv4 = z.strictObject({
  subnet: z
    .cidrv4()
    .optional()
    .meta({ description: 'One that collides with nothing on the host unless said.' }),
  gateway: z.ipv4().optional().meta({ description: 'The first address of the subnet unless said.' }),
  dhcp: z
    .union([z.boolean(), dhcpRange])
    .default(true)
    .meta({ description: 'Whether guests are given addresses, and which; all that are free unless said.' }),
})

const newIpv6 = z.strictObject({
  subnet: z.cidrv6().meta({ description: 'A /64, such as fd12:3456:789a:1::/64.' }),
  dhcp: z.boolean().default(true).meta({ description: 'DHCPv6 besides SLAAC.' }),
})

const newUplink = linkName.meta({
  description:
    'Of mode bridge: the link of the host (a NIC, a bond, a VLAN device) around which a bridge is made; its addresses and routes go to the bridge, and back when the network stops.',
})

const uplinkForce = z.boolean().meta({
  description:
    'Take the uplink even if it has the host’s default route, or is in the care of another program; of mode macvtap passthru, take a link by which the host is reached, which it then no longer is while a VM runs.',
})

const vlanAwareness = z.boolean().meta({
  description:
    'Of mode bridge: the bridge tells VLANs apart, so that NICs may have some; a bridge of others must do so already.',
})

const nativeTwice = 'has one VLAN both with tags and without'

/** A network as it is asked for. */
export const newNetwork = z
  .strictObject({
    name: resourceName,
    mode: z.enum(networkModes).default('nat'),
    ipv4: z
      .union([z.literal(false), newIpv4])
      .prefault({})
      .meta({ description: 'False: without IPv4.' }),
    ipv6: newIpv6.optional(),
    domain: domainName.optional().meta({ description: 'NAME.internal unless said.' }),
    bridge: linkName.optional().meta({
      description:
        'What the bridge is called, made of the id unless said; of mode bridge, the one that is there.',
    }),
    uplink: newUplink.optional(),
    force: uplinkForce.default(false),
    vlanAware: vlanAwareness.default(false),
    vlan: vlanId.optional().meta({ description: 'Of NICs that name none; 1 unless said.' }),
    trunk: vlanTrunk.optional().meta({ description: 'Of NICs that name none.' }),
    sriov: sriovSpec.optional().meta({ description: 'Of mode sriov.' }),
    link: linkName
      .optional()
      .meta({ description: 'Of mode macvtap, the link of the host that guests are put on, such as eth0.' }),
    macvtapMode: z
      .enum(macvtapModes)
      .optional()
      .meta({ description: 'Whom guests of mode macvtap reach; bridge unless said.' }),
    mtu: z
      .int()
      .min(1280)
      .max(65535)
      .optional()
      .meta({ description: '1500 unless said; of modes bridge, macvtap and sriov what the link has.' }),
    reservations: z.array(reservation).max(networkLimits.reservations).default([]),
    records: z.array(dnsRecord).max(mostRecords).default([]).meta({
      description: 'What its DNS says besides the names of guests.',
    }),
    autostart: z.boolean().default(true),
  })
  .refine(({ vlan, trunk }) => !isNativeInTrunk(vlan, trunk), nativeTwice)

export type NewNetwork = z.output<typeof newNetwork>
/** As it may be written: what has a default may be left out. */
export type NewNetworkInput = z.input<typeof newNetwork>

/** What of a network is to be another; what is not named stays. `ipv4` and `ipv6` are named whole, but for a subnet and a gateway that stay. */
export const networkChange = z.strictObject({
  mode: z.enum(networkModes).optional(),
  ipv4: z
    .union([z.literal(false), newIpv4])
    .optional()
    .meta({ description: 'False: without IPv4.' }),
  ipv6: z
    .union([z.literal(false), newIpv6])
    .optional()
    .meta({ description: 'False: without IPv6.' }),
  sriov: sriovSpec.optional().meta({ description: 'Named whole.' }),
  domain: domainName.optional(),
  uplink: newUplink.optional(),
  force: uplinkForce.optional(),
  vlanAware: vlanAwareness.optional(),
  vlan: vlanId.nullish().meta({ description: 'Null: none.' }),
  trunk: vlanTrunk.nullish().meta({ description: 'Null: none.' }),
  macvtapMode: z.enum(macvtapModes).optional(),
  mtu: z.int().min(1280).max(65535).optional(),
  reservations: z.array(reservation).max(networkLimits.reservations).optional(),
  records: z.array(dnsRecord).max(mostRecords).optional(),
  autostart: z.boolean().optional(),
})

export type NetworkChange = z.output<typeof networkChange>
export type NetworkChangeInput = z.input<typeof networkChange>

/** What can be asked of networks. */
export const networkEndpoints = {
  listNetworks: endpoint({
    id: 'listNetworks',
    method: 'GET',
    path: '/v1/networks',
    summary: 'All networks',
    response: z.array(network),
  }),
  getNetwork: endpoint({
    id: 'getNetwork',
    method: 'GET',
    path: '/v1/networks/{network}',
    summary: 'One network',
    params: byNetwork,
    response: network,
  }),
  createNetwork: endpoint({
    id: 'createNetwork',
    method: 'POST',
    path: '/v1/networks',
    summary: 'Create a network and start it',
    body: newNetwork,
    response: network,
    status: 201,
    idempotent: true,
  }),
  changeNetwork: endpoint({
    id: 'changeNetwork',
    method: 'PATCH',
    path: '/v1/networks/{network}',
    summary: 'Change a network',
    params: byNetwork,
    query: z.strictObject({
      restart: queryFlag
        .default(false)
        .meta({ description: 'Stop and start it for what needs that; without, such a change is refused.' }),
    }),
    body: networkChange,
    response: network,
  }),
  planNetwork: endpoint({
    id: 'planNetwork',
    method: 'POST',
    path: '/v1/networks/{network}/plan',
    summary: 'What a change of a network would do',
    params: byNetwork,
    body: networkChange,
    response: networkPlan,
  }),
  startNetwork: endpoint({
    id: 'startNetwork',
    method: 'POST',
    path: '/v1/networks/{network}/start',
    summary: 'Start a network: its bridge, its rules, its DHCP and DNS',
    params: byNetwork,
    response: network,
  }),
  stopNetwork: endpoint({
    id: 'stopNetwork',
    method: 'POST',
    path: '/v1/networks/{network}/stop',
    summary: 'Stop a network: all that was made for it on the host goes',
    params: byNetwork,
    response: network,
  }),
  deleteNetwork: endpoint({
    id: 'deleteNetwork',
    method: 'DELETE',
    path: '/v1/networks/{network}',
    summary: 'Stop a network and forget it, with its leases',
    params: byNetwork,
  }),
  listLeases: endpoint({
    id: 'listLeases',
    method: 'GET',
    path: '/v1/networks/{network}/leases',
    summary: 'The addresses that guests of a network were given',
    params: byNetwork,
    response: z.array(lease),
  }),
} as const
