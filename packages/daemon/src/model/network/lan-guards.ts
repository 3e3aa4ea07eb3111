/**
 * The rules that hold a guest on a LAN of the host, by a macvtap or on a bridge that somebody else made, to what it is: those of a tap on a bridge
 * of ours (guard-rules.ts) as far as its network can know them. The LAN says who has which address. So the guest has the address of IPv4 that its
 * NIC names, or any where that names none; and of IPv6 those that end as its MAC address says, whatever the prefix, and the one that its NIC
 * names. Tags of VLANs it sends only where its NIC has a trunk.
 *
 * What a guest sends leaves its macvtap, so the rules are behind a hook of egress there (nft(8), family netdev). No word here asks of which kind the
 * link is that a packet came by, as `ether saddr` and `ether type` of nft(8) 1.0.6 do: at egress it came by none, and such a rule matches nothing.
 * On a bridge they would be asked of the tag in the place of what is behind it, which `meta protocol` and offsets are not.
 */
import { clientBits, elements, hexOf, interfaceId, targetBits } from './guard-words.ts'
import { countedDrop, dropChain, type RuleCounts } from './rule-counts.ts'
import type { Wire } from './wires.ts'

type Guarded = Pick<Wire, 'tap' | 'mac' | 'address' | 'ipv6' | 'antiSpoof' | 'trunk'>

/** The sets and the chains of a guarded macvtap, with the hook; nothing for another one. */
export function macvtapGuard(wire: Guarded, counts: RuleCounts): readonly string[] {
  const { tap, antiSpoof } = wire
  const head = `    type filter hook egress device "${tap}" priority 0; policy accept;`
  return antiSpoof ? lanGuard(wire, { chain: `${tap}_guard`, head: [head], counts }) : []
}

/** The sets and the chains of a guarded tap on a bridge of somebody else; the one that is named like it is to be jumped to. */
export function bridgedGuard(wire: Guarded, counts: RuleCounts): readonly string[] {
  const { tap, trunk } = wire
  const tags = trunk === undefined ? ['8100', '88a8'] : []
  const head = tags.map((tag) => `    @ll,96,16 0x${tag} goto ${dropChain(tap)}`)
  return lanGuard(wire, { chain: tap, head, counts })
}

function lanGuard(
  wire: Guarded,
  {
    chain,
    head,
    counts,
  }: { readonly chain: string; readonly head: readonly string[]; readonly counts: RuleCounts },
): readonly string[] {
  const { tap, mac, address } = wire
  const refuse = `goto ${dropChain(tap)}`
  return [
    ...(address === undefined ? [] : [`  set ${tap}_4 {`, '    type ipv4_addr', elements([address]), '  }']),
    `  chain ${dropChain(tap)} {`,
    `    ${countedDrop(dropChain(tap), counts)}`,
    '  }',
    ...ownChain(wire, refuse),
    `  chain ${chain} {`,
    ...head,
    `    @ll,48,48 != ${hexOfMac(mac)} ${refuse}`,
    ...ipv4Rules(wire, refuse),
    ...ipv6Rules(wire, refuse),
    `    ${refuse}`,
    '  }',
  ]
}

/** The last 64 bits of the source of IPv6 are behind 8 bytes of header and 8 of prefix. */
const idBits = 16 * 8

function ownChain({ tap, mac, ipv6 }: Guarded, refuse: string): readonly string[] {
  return [
    `  chain ${tap}_own {`,
    `    @nh,${idBits},64 ${idOf(mac)} accept`,
    ...(ipv6 === undefined ? [] : [`    ip6 saddr ${ipv6} accept`]),
    `    ${refuse}`,
    '  }',
  ]
}

function ipv4Rules({ tap, mac, address }: Guarded, refuse: string): readonly string[] {
  const dhcp = `meta protocol ip udp dport 67 @th,${clientBits},48 != ${hexOfMac(mac)} ${refuse}`
  const fromOwn = address === undefined ? '' : ` @${tap}_4`
  return [
    `    meta protocol arp @nh,64,48 != ${hexOfMac(mac)} ${refuse}`,
    ...(address === undefined
      ? ['    meta protocol arp accept']
      : [
          `    meta protocol arp arp saddr ip${fromOwn} accept`,
          '    meta protocol arp arp saddr ip 0.0.0.0 accept', // It looks whether somebody has an address (RFC 5227).
        ]),
    `    meta protocol ip udp sport 67 ${refuse}`,
    `    ${dhcp}`,
    ...(address === undefined
      ? ['    meta protocol ip accept']
      : [
          `    meta protocol ip ip saddr${fromOwn} accept`,
          '    meta protocol ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept',
        ]),
  ]
}

function ipv6Rules({ tap, mac, ipv6 }: Guarded, refuse: string): readonly string[] {
  const targets = [
    `@th,${targetBits + 64},64 ${idOf(mac)}`,
    ...(ipv6 === undefined ? [] : [`@th,${targetBits},128 0x${hexOf(ipv6)}`]),
  ]
  const own = `goto ${tap}_own`
  const begin = '    meta protocol ip6'
  return [
    `${begin} exthdr frag exists meta l4proto ipv6-icmp ${refuse}`,
    `${begin} icmpv6 type { nd-router-advert, nd-redirect } ${refuse}`,
    `${begin} udp sport 547 ${refuse}`,
    ...targets.map((target) => `${begin} ip6 saddr :: icmpv6 type nd-neighbor-solicit ${target} accept`),
    `${begin} ip6 saddr :: icmpv6 type { mld-listener-report, mld2-listener-report, nd-router-solicit } accept`,
    ...targets.map((target) => `${begin} icmpv6 type nd-neighbor-advert ${target} ${own}`),
    `${begin} icmpv6 type nd-neighbor-advert ${refuse}`,
    `${begin} ${own}`,
  ]
}

function idOf(mac: string): string {
  return `0x${interfaceId(mac).toString(16).padStart(16, '0')}`
}

function hexOfMac(mac: string): string {
  return `0x${mac.replaceAll(':', '')}`
}

/** Why rules at macvtaps were not taken, where nft(8) said that it or the kernel knows no hook of egress; undefined for another reason. */
export function lacksEgress(said: string): string | undefined {
  if (
    !/unknown chain hook|unexpected .*egress|egress.*(not supported|unknown)|Operation not supported/i.test(
      said,
    )
  )
    return undefined
  return 'guests on macvtaps are guarded and limited by hooks of egress, which Linux has from 5.16 on and nft from 1.0.1 on, and this host has none'
}
