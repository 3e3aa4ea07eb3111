/**
 * Packets that a network's guests depend on: what is asked of the firewalls of others is whether these get through. Where a rule may
 * look at ports, they are those of HTTPS from a high port, as the words say.
 */

import { parseSubnet } from '../address.ts'
import type { HostFilters } from '../host-filters.ts'
import type { NetworkSpec } from '../network-record.ts'
import type { Wire } from '../wires.ts'
import type { Packet } from './match-packet.ts'

const https = { protocol: 'tcp', sport: 40_000, dport: 443, state: 'new' } as const
const answerOfHttps = { protocol: 'tcp', sport: 443, dport: 40_000, state: 'established' } as const

/** A packet, and what it is to those who use the network. */
export interface Probe {
  readonly words: string
  readonly packet: Packet
}

/** The packets of a network. */
export function probesOf(
  network: NetworkSpec,
  { wires, filters }: { readonly wires: readonly Wire[]; readonly filters: HostFilters },
): readonly Probe[] {
  if (network.mode === 'bridge')
    return ([4, 6] as const).flatMap((family) => among({ network, family, subnet: '', filters }))
  return ([4, 6] as const).flatMap((family) => {
    const own = family === 4 ? network.ipv4 : network.ipv6
    if (!own) return []
    const of = { network, family, subnet: own.subnet, filters }
    const uplinks = filters.uplinks[family].length === 0 ? [undefined] : filters.uplinks[family]
    return [
      ...toHost(of, own.gateway),
      ...among(of),
      ...(network.mode === 'isolated'
        ? []
        : uplinks.flatMap((uplink) => [...outAndBack(of, uplink), ...inwards(of, uplink, wires)])),
    ]
  })
}

interface Of {
  readonly network: NetworkSpec
  readonly family: 4 | 6
  readonly subnet: string
  readonly filters: HostFilters
}

function toHost({ network, family, subnet }: Of, gateway: string): readonly Probe[] {
  const from = {
    layer: layerOf(family),
    hook: 'input',
    family,
    iifname: network.bridge,
    state: 'new',
    protocol: 'udp',
  } as const
  const dns: Probe = {
    words: `questions of guests to its DNS${of(family)}`,
    packet: {
      ...from,
      saddr: parseSubnet(subnet),
      daddr: hostSubnet(gateway, family),
      sport: 40_000,
      dport: 53,
    },
  }
  if (family === 6 || network.ipv4?.dhcp === undefined) return [dns]
  const addresses = { saddr: hostSubnet('0.0.0.0', 4), daddr: hostSubnet('255.255.255.255', 4) }
  return [
    dns,
    {
      words: 'questions of guests to its DHCP',
      packet: { ...from, ...addresses, sport: 68, dport: 67 },
    },
  ]
}

/** Frames between ports of a bridge come to rules of the family bridge, and to all others where the host says so. */
function among({ network, family, subnet, filters }: Of): readonly Probe[] {
  const both = { saddr: parseSubnet(subnet), daddr: parseSubnet(subnet) }
  const packet = { ...https, ...both, family, hook: 'forward', bridge: network.bridge } as const
  const others = network.mode === 'bridge' ? ' and others on the bridge' : ''
  const words = `what its guests send each other${others}${of(family)}`
  const ends = { iifname: network.bridge, oifname: network.bridge }
  return [
    { words, packet: { ...packet, layer: 'bridge' } },
    ...(filters.seesBridged[family]
      ? [{ words, packet: { ...packet, ...ends, layer: layerOf(family) } }]
      : []),
  ]
}

function outAndBack({ network, family, subnet }: Of, uplink: string | undefined): readonly Probe[] {
  const guests = parseSubnet(subnet)
  const common = { layer: layerOf(family), hook: 'forward', family } as const
  const [out, back] = [
    { iifname: network.bridge, oifname: uplink },
    { iifname: uplink, oifname: network.bridge },
  ]
  return [
    {
      words: `what guests send out${of(family)}`,
      packet: { ...https, ...common, ...out, saddr: guests },
    },
    {
      words: `what answers guests${of(family)}`,
      packet: { ...answerOfHttps, ...common, ...back, daddr: guests },
    },
  ]
}

function inwards(
  { network, family, subnet }: Of,
  uplink: string | undefined,
  wires: readonly Wire[],
): readonly Probe[] {
  const common = {
    layer: layerOf(family),
    hook: 'forward',
    family,
    iifname: uplink,
    oifname: network.bridge,
  } as const
  if (network.mode === 'routed')
    return [
      {
        words: `what comes to guests from outside${of(family)}`,
        packet: { ...https, ...common, daddr: parseSubnet(subnet) },
      },
    ]
  if (family === 6) return []
  return wires.flatMap(({ vm, address, forwards }) =>
    address === undefined
      ? []
      : forwards.map(({ hostPort, guestPort, protocol }) => ({
          words: `what comes to VM ${vm} by the forward of port ${hostPort}`,
          packet: {
            ...https,
            ...common,
            protocol,
            dport: guestPort,
            isTurned: true,
            daddr: hostSubnet(address, 4),
          },
        })),
  )
}

function hostSubnet(address: string, family: 4 | 6) {
  return parseSubnet(`${address}/${family === 4 ? 32 : 128}`)
}

function layerOf(family: 4 | 6): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6'
}

function of(family: 4 | 6): string {
  return family === 4 ? '' : ' by IPv6'
}
