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
      ...withHost(of, own.gateway),
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

/** What guests ask the host, and what the host answers; an answer to who has no address yet belongs to no connection. */
function withHost({ network, family, subnet }: Of, gateway: string): readonly Probe[] {
  const common = { layer: layerOf(family), family, protocol: 'udp' } as const
  const asked = { ...common, hook: 'input', iifname: network.bridge, state: 'new' } as const
  const answered = {
    ...common,
    hook: 'output',
    oifname: network.bridge,
    saddr: hostSubnet(gateway, family),
  } as const
  const [guests, host] = [parseSubnet(subnet), hostSubnet(gateway, family)]
  const both = (service: string, question: Partial<Packet>, answer: Partial<Packet>): readonly Probe[] => [
    { words: `questions of guests to its ${service}${of(family)}`, packet: { ...asked, ...question } },
    {
      words: `answers of its ${service} to guests${of(family)}`,
      packet: { ...answered, state: 'new', ...answer },
    },
  ]
  const dns = both(
    'DNS',
    { saddr: guests, daddr: host, sport: 40_000, dport: 53 },
    { daddr: guests, sport: 53, dport: 40_000, state: 'established' },
  )
  if (family === 4 && network.ipv4?.dhcp !== undefined) {
    const addresses = { saddr: hostSubnet('0.0.0.0', 4), daddr: hostSubnet('255.255.255.255', 4) }
    return [...dns, ...both('DHCP', { ...addresses, sport: 68, dport: 67 }, { sport: 67, dport: 68 })]
  }
  if (family === 4 || network.ipv6?.dhcp !== true) return dns
  const links = parseSubnet('fe80::/64')
  const addresses = { saddr: links, daddr: hostSubnet('ff02::1:2', 6) } // RFC 8415: all servers and relay agents.
  const answer = { saddr: links, daddr: links, sport: 547, dport: 546 }
  return [...dns, ...both('DHCP', { ...addresses, sport: 546, dport: 547 }, answer)]
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
      packet: {
        ...answerOfHttps,
        ...common,
        ...back,
        daddr: guests,
        mayBeTurned: network.mode === 'nat',
      },
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
            mayBeTurned: true,
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
