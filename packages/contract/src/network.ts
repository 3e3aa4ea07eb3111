/** Networks: what guests are connected by. A network is a row that says what is wanted, and what was last seen of it on the host. */
import { z } from 'zod'
import { linkName, macAddress, resourceName, uuid } from './names.ts'
import { dnsRecord } from './network-dns.ts'
import { pfStatus, sriovSpec } from './network-sriov.ts'
import { timestamp } from './units.ts'
import { vlanId, vlanTrunk } from './vlan.ts'

/**
 * How far guests get. `nat`: out of the host, under its address. `routed`: out of it and reached from outside, under their own.
 * `isolated`: each other and the host, no further. `bridge`: they are on the host's own LAN, by a bridge that
 * somebody else made, or one that is made around a link of the host.
 * `sriov`: so they are too, each NIC by a virtual function of a NIC of the host, which it has to itself. `macvtap`: so they are too, on
 * a link of the host directly, beside the host.
 */
export const networkModes = ['nat', 'routed', 'isolated', 'bridge', 'macvtap', 'sriov'] as const
export type NetworkMode = (typeof networkModes)[number]

/**
 * Whom guests of mode macvtap reach besides the LAN (the kernel's drivers/net/macvlan.c). `bridge`: each other, by the host. `vepa`: each
 * other, where the switch sends back what it gets from them. `private`: never each other. `passthru`: one guest has the link for itself.
 */
export const macvtapModes = ['bridge', 'vepa', 'private', 'passthru'] as const
export type MacvtapMode = (typeof macvtapModes)[number]

/** `failed`: it was started, and something of it is missing on the host, which is tried again. */
export const networkStates = ['active', 'inactive', 'failed'] as const
export type NetworkState = (typeof networkStates)[number]

/** The largest numbers that a network may name. */
export const networkLimits = { reservations: 4096, linkName: 15, repairs: 16 } as const

/** One word of a host's name, as DNS takes it. */
export const hostLabel = z
  .string()
  .toLowerCase()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    'is not a name for DNS: 1 to 63 letters, digits and dashes, no dash at its ends',
  )

/** A domain of DNS. */
export const domainName = z
  .string()
  .toLowerCase()
  .max(200)
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/,
    'is not a domain',
  )

/** The addresses that guests are given by turns. */
export const dhcpRange = z.strictObject({ first: z.ipv4(), last: z.ipv4() }).meta({ id: 'DhcpRange' })

/** A NIC that always gets the same address, the same name, or both. */
export const reservation = z
  .strictObject({
    mac: macAddress,
    address: z.ipv4().optional(),
    ipv6: z.ipv6().optional().meta({ description: 'What DHCPv6 gives it; in the subnet of the network.' }),
    name: hostLabel.optional().meta({ description: 'What DNS calls it.' }),
  })
  .refine(
    ({ address, ipv6, name }) => (address ?? ipv6 ?? name) !== undefined,
    'reserves neither an address nor a name',
  )
  .meta({ id: 'Reservation' })

export type Reservation = z.output<typeof reservation>

/** What keeps a network from working, or will. */
export const networkFinding = z
  .strictObject({
    thing: z.enum(['bridge', 'uplink', 'link', 'firewall', 'forwarding', 'dnsmasq', 'addresses', 'sriov']),
    detail: z.string(),
    fix: z
      .array(z.string())
      .optional()
      .meta({ description: 'Commands that put it right, for who runs the firewall in the way.' }),
  })
  .meta({ id: 'NetworkFinding' })

export type NetworkFinding = z.output<typeof networkFinding>

/** Something that was amiss with a network and was put right. */
export const networkRepair = z
  .strictObject({ at: timestamp, detail: z.string().meta({ description: 'What was found.' }) })
  .meta({ id: 'NetworkRepair' })

export type NetworkRepair = z.output<typeof networkRepair>

export const network = z
  .strictObject({
    name: resourceName,
    id: uuid,
    mode: z.enum(networkModes),
    state: z.enum(networkStates),
    reason: z.string().meta({ description: 'Why it is in this state.' }),
    since: timestamp,
    autostart: z.boolean(),
    bridge: linkName.optional().meta({
      description:
        'The bridge that its guests are connected to; of mode sriov, its first physical function; of mode macvtap there is none.',
    }),
    link: linkName
      .optional()
      .meta({ description: 'Of mode macvtap, the link of the host that guests share.' }),
    macvtapMode: z.enum(macvtapModes).optional(),
    reach: z
      .string()
      .optional()
      .meta({ description: 'Of mode macvtap, whom its guests reach and whom they do not, as a sentence.' }),
    mac: macAddress.optional().meta({ description: 'Of the bridge, where it is the network’s own.' }),
    uplink: linkName
      .optional()
      .meta({ description: 'The link of the host that its own bridge is made around.' }),
    force: z.boolean().optional().meta({
      description: 'The uplink is taken even if it has the host’s default route, or is in another’s care.',
    }),
    uplinks: z.array(z.string()).meta({
      description: 'The links of the host by which packets leave its bridge, as they were last seen.',
    }),
    vlanAware: z.boolean().meta({ description: 'Its bridge tells VLANs apart.' }),
    vlan: vlanId.optional(),
    trunk: vlanTrunk.optional(),
    mtu: z.int(),
    ipv4: z
      .strictObject({
        subnet: z.cidrv4(),
        gateway: z.ipv4().meta({ description: 'The address of the host in it.' }),
        dhcp: dhcpRange.optional(),
      })
      .optional(),
    ipv6: z
      .strictObject({
        subnet: z.cidrv6(),
        gateway: z.ipv6(),
        dhcp: z.boolean().meta({ description: 'SLAAC and DHCPv6; else SLAAC alone.' }),
      })
      .optional(),
    sriov: z
      .strictObject({ ...sriovSpec.shape, pools: z.array(pfStatus) })
      .optional()
      .meta({ description: 'Of mode sriov: what it is made of, and what there is of it.' }),
    domain: domainName,
    reservations: z.array(reservation),
    records: z.array(dnsRecord).meta({ description: 'What its DNS says besides the names of guests.' }),
    table: z.string().optional().meta({
      description:
        'The table of nftables with its rules, of the family inet; a network of mode bridge has none.',
    }),
    guardTable: z.string().optional().meta({
      description: 'The table of the family bridge that guards NICs; absent while it has none to guard.',
    }),
    dnsmasqPid: z.int().optional().meta({ description: 'The process that serves DHCP and DNS.' }),
    findings: z.array(networkFinding).meta({ description: 'What is amiss with it on the host.' }),
    repairs: z.array(networkRepair).meta({
      description:
        'What others took away or changed and was put right since the daemon began, the last ones last.',
    }),
    createdAt: timestamp,
  })
  .meta({ id: 'Network' })

export type Network = z.output<typeof network>

/** The effect of one changed field of a network. */
export const networkPlanChange = z
  .strictObject({
    field: z.string(),
    from: z.unknown(),
    to: z.unknown(),
    effect: z.enum(['live', 'restart', 'next-start']),
    reason: z.string(),
  })
  .meta({ id: 'NetworkPlanChange' })

export type NetworkPlanChange = z.output<typeof networkPlanChange>

/** What changing a network would do, field by field. */
export const networkPlan = z
  .strictObject({
    name: resourceName,
    action: z.enum(['nothing', 'change', 'restart']),
    changes: z.array(networkPlanChange),
  })
  .meta({ id: 'NetworkPlan' })

export type NetworkPlan = z.output<typeof networkPlan>

/** An address that a guest was given. */
export const lease = z
  .strictObject({
    address: z.union([z.ipv4(), z.ipv6()]),
    mac: macAddress.optional().meta({ description: 'Absent where DHCPv6 was asked with another identity.' }),
    name: z.string().optional(),
    client: z
      .string()
      .optional()
      .meta({ description: 'What the guest calls itself: its client id, or its DUID.' }),
    expiresAt: timestamp.optional().meta({ description: 'Absent for one that never does.' }),
  })
  .meta({ id: 'Lease' })

export type Lease = z.output<typeof lease>
