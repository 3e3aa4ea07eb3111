/**
 * The rules that hold guests to what they are, on the ports of the bridge (nft(8), family bridge): a table of its own, replaced together
 * with the other one. They are by the names of taps, so they are there before the tap is.
 *
 *     antiSpoof   a frame leaves a guest with its NIC's MAC address, as ARP, IPv4 or IPv6; with the address that the network gives it, or
 *                 with those of IPv6 that follow from its MAC address (RFC 4291, appendix A), are reserved for it or named by it, since of others nobody knows whose they
 *                 are. It asks for a lease in its own name, and answers for its own addresses alone (ARP; RFC 4861). It is no DHCP server
 *                 and no router. ICMPv6 in fragments, in which that could be hidden, is dropped (RFC 6980).
 *     isolated    no frame goes from one isolated guest to another, and no packet between guests by way of the host's routing
 *     limits      what a guest sends in a second, or is sent, is dropped beyond so many bytes; a bucket of theirs holds what a second brings and
 *                 `burst` more (net/netfilter/nft_limit.c), so a packet that a NIC's offloads leave at 64 KiB always fits
 *
 * Limits are rules and not queues of tc(8): they are in the transaction with the others, before the tap is, and its like for what a guest sends
 * would be a police action that not every kernel has. Both ways a TCP connection comes to what it may, as measured.
 *
 * Isolation is not the flag of the port that the kernel has: that can be set only on a tap that is there, and leaves the way by the host.
 */
import { formatAddress, parseAddress } from './address.ts'
import { clientBits, elements, hexOf, interfaceId, targetBits } from './guard-words.ts'
import { bridgedGuard } from './lan-guards.ts'
import { bridgeMac, tableComment, tableName } from './link-names.ts'
import type { NetworkSpec } from './network-record.ts'
import { countedDrop, dropChain, isolationChain, limitChain, type RuleCounts } from './rule-counts.ts'
import type { Wire } from './wires.ts'

/** The addresses of IPv6 that follow from a MAC address on a network: link-local, and the one of SLAAC. */
export function derivedAddresses(mac: string, { ipv6 }: Pick<NetworkSpec, 'ipv6'>): readonly string[] {
  return ['fe80::/64', ...(ipv6 ? [ipv6.subnet] : [])].flatMap((subnet) => {
    const base = parseAddress(subnet.split('/')[0] ?? '')
    return base ? [formatAddress({ family: 6, value: base.value + interfaceId(mac) })] : []
  })
}

/** What DHCPv6 gives a NIC always. */
function reserved6(mac: string, { reservations }: NetworkSpec): readonly string[] {
  return reservations.flatMap((one) => (one.mac === mac && one.ipv6 !== undefined ? [one.ipv6] : []))
}

/** Whether any NIC is guarded, or kept from others. */
export function hasGuards(wires: readonly Wire[]): boolean {
  return wires.some(({ antiSpoof, isolated }) => antiSpoof || isolated)
}

/** The table of a network's guards, with what they have dropped so far; nothing where no NIC has any. */
export function guardTable(
  network: NetworkSpec,
  wires: readonly Wire[],
  counts: RuleCounts = new Map(),
): readonly string[] {
  const guarded = wires.filter(({ antiSpoof }) => antiSpoof)
  const isolated = wires.filter((wire) => wire.isolated)
  const [senders, receivers] = [limitsOf(wires, 'send', counts), limitsOf(wires, 'receive', counts)]
  if (guarded.length + isolated.length + senders.length + receivers.length === 0) return []
  const refused = `iifname vmap { ${isolated.map(({ tap }) => `"${tap}" : jump ${isolationChain(tap)}`).join(', ')} }`
  const jumps = guarded.map(({ tap }) => `"${tap}" : jump ${tap}`)
  return [
    `table bridge ${tableName(network.id)} {`,
    `  comment "${tableComment(network.id)}"`,
    ...guarded.flatMap((wire) =>
      network.mode === 'bridge' ? bridgedGuard(wire, counts) : guardOf(wire, network, counts),
    ),
    ...[...senders, ...receivers].flatMap(({ chain }) => chain),
    ...(isolated.length > 0 ? isolationOf(isolated, counts) : []),
    '  chain prerouting {',
    '    type filter hook prerouting priority -300; policy accept;',
    // What a guard accepts is looked at no more.
    ...mapOf('iifname', senders),
    ...(isolated.length > 0 ? hairpinsOf(network).map((rule) => `${rule} ${refused}`) : []),
    ...(jumps.length > 0 ? [`    iifname vmap { ${jumps.join(', ')} }`] : []),
    '  }',
    ...(isolated.length > 0
      ? [
          '  chain forward {',
          '    type filter hook forward priority -200; policy accept;',
          `    iifname @isolated oifname @isolated ${refused}`,
          '  }',
        ]
      : []),
    ...(receivers.length > 0
      ? [
          '  chain postrouting {',
          '    type filter hook postrouting priority 0; policy accept;',
          ...mapOf('oifname', receivers),
          '  }',
        ]
      : []),
    '}',
  ]
}

/** Beyond what a second brings. */
export const burstBytes = 131_072

interface TapLimit {
  readonly jump: string
  readonly chain: readonly string[]
}

/** The chains that hold taps to their limits, and what leads there. */
function limitsOf(wires: readonly Wire[], way: 'send' | 'receive', counts: RuleCounts): readonly TapLimit[] {
  return wires.flatMap(({ tap, limits }) => {
    const rate = limits?.[way]
    if (rate === undefined) return []
    const chain = limitChain(tap, way)
    const over = `limit rate over ${rate} bytes/second burst ${burstBytes} bytes`
    const rule = `    ${over} ${countedDrop(chain, counts)}`
    return { jump: `"${tap}" : jump ${chain}`, chain: [`  chain ${chain} {`, rule, '  }'] }
  })
}

function mapOf(link: 'iifname' | 'oifname', limits: readonly TapLimit[]): readonly string[] {
  return limits.length === 0 ? [] : [`    ${link} vmap { ${limits.map(({ jump }) => jump).join(', ')} }`]
}

/** The sets and the chains of a guarded tap: one says what passes, the other counts and drops the rest. */
function guardOf(
  { tap, mac, address, ipv6 }: Wire,
  network: NetworkSpec,
  counts: RuleCounts,
): readonly string[] {
  const refuse = `goto ${dropChain(tap)}`
  const said6 = ipv6 === undefined || !network.ipv6 ? [] : [ipv6]
  const own6 = [...new Set([...derivedAddresses(mac, network), ...reserved6(mac, network), ...said6])]
  const own4 = address === undefined || !network.ipv4 ? [] : [address]
  return [
    ...(own4.length > 0 ? [`  set ${tap}_4 {`, '    type ipv4_addr', elements(own4), '  }'] : []),
    `  set ${tap}_6 {`,
    '    type ipv6_addr',
    elements(own6),
    '  }',
    `  chain ${dropChain(tap)} {`,
    `    ${countedDrop(dropChain(tap), counts)}`,
    '  }',
    `  chain ${tap} {`,
    `    ether saddr != ${mac} ${refuse}`,
    ...(own4.length > 0 ? ipv4Rules(tap, mac) : []),
    ...ipv6Rules(tap, own6),
    `    ${refuse}`,
    '  }',
  ]
}

function ipv4Rules(tap: string, mac: string): readonly string[] {
  const refuse = `goto ${dropChain(tap)}`
  const arp = `ether type arp arp saddr ether ${mac} arp saddr ip`
  return [
    `    ${arp} @${tap}_4 accept`,
    `    ${arp} 0.0.0.0 accept`, // It looks whether somebody has an address (RFC 5227).
    `    ether type ip udp sport 67 ${refuse}`,
    `    ether type ip udp dport 67 @th,${clientBits},48 != 0x${mac.replaceAll(':', '')} ${refuse}`,
    `    ether type ip ip saddr @${tap}_4 accept`,
    '    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept',
  ]
}

function ipv6Rules(tap: string, own6: readonly string[]): readonly string[] {
  const refuse = `goto ${dropChain(tap)}`
  const targets = own6.map((address) => `@th,${targetBits},128 0x${hexOf(address)}`)
  return [
    `    ether type ip6 exthdr frag exists meta l4proto ipv6-icmp ${refuse}`,
    `    icmpv6 type { nd-router-advert, nd-redirect } ${refuse}`,
    `    ether type ip6 udp sport 547 ${refuse}`,
    ...targets.map((target) => `    ip6 saddr :: icmpv6 type nd-neighbor-solicit ${target} accept`),
    '    ip6 saddr :: icmpv6 type { mld-listener-report, mld2-listener-report, nd-router-solicit } accept',
    ...targets.map((target) => `    ip6 saddr @${tap}_6 icmpv6 type nd-neighbor-advert ${target} accept`),
    `    icmpv6 type nd-neighbor-advert ${refuse}`,
    `    ip6 saddr @${tap}_6 accept`,
  ]
}

/** The set of isolated taps, and for each what counts and drops what it sends to another: one frame for many is one for each of them. */
function isolationOf(isolated: readonly Wire[], counts: RuleCounts): readonly string[] {
  return [
    '  set isolated {',
    '    type ifname',
    elements(isolated.map(({ tap }) => `"${tap}"`)),
    '  }',
    ...isolated
      .map(({ tap }) => isolationChain(tap))
      .flatMap((chain) => [`  chain ${chain} {`, `    ${countedDrop(chain, counts)}`, '  }']),
  ]
}

/** The host passes on what it is given, also back to where it came from. */
function hairpinsOf({ id, ipv4, ipv6 }: NetworkSpec): readonly string[] {
  const toHost = `    iifname @isolated ether daddr ${bridgeMac(id)}`
  return [
    ...(ipv4 ? [`${toHost} ip daddr ${ipv4.subnet} ip daddr != ${ipv4.gateway}`] : []),
    ...(ipv6 ? [`${toHost} ip6 daddr ${ipv6.subnet} ip6 daddr != ${ipv6.gateway}`] : []),
  ]
}
