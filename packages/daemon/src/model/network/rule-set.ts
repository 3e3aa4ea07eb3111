/**
 * The rules of one network, as one transaction of nftables (nft(8)): the table is made anew as a whole, so at no moment is there a
 * part of it, and what flows goes on.
 *
 * A table of our own decides only what we forbid. An `accept` here ends the way through this table, and others' tables are asked all
 * the same: who drops elsewhere, drops.
 *
 *     nat       guests reach out; from outside only what answers them gets in
 *     routed    both ways, from and to the addresses of the network alone
 *     isolated  nothing is forwarded, and of the host only its address in the network is reached
 */
import { admittedRules, hairpinRules, loopbackRules, outputRules, preroutingRules } from './forward-rules.ts'
import { guardTable } from './guard-rules.ts'
import { tableComment, tableName } from './link-names.ts'
import { macvtapTable } from './macvtap-rules.ts'
import type { NetworkSpec } from './network-record.ts'
import type { RuleCounts } from './rule-counts.ts'
import type { Wire } from './wires.ts'

/** The text for `nft -f -` that puts the rules of a network in the place of what there is of them. `hasGuards`: those of ports are there. `keepsWays`: how packets leave and reach it stays as it is. `counts`: what they have dropped. */
export function ruleSet(
  network: NetworkSpec,
  wires: readonly Wire[],
  {
    hasGuards,
    keepsWays = false,
    counts,
  }: { readonly hasGuards: boolean; readonly keepsWays?: boolean; readonly counts?: RuleCounts },
): string {
  const guards = guardRules(network, wires, counts)
  const family = network.mode === 'macvtap' ? 'netdev' : 'bridge'
  return [
    ...(keepsWays || isHosts(network) ? [] : [wayRules(network, wires)]),
    // A kernel without this family is asked for it only where there is something to guard.
    ...(hasGuards || guards.length > 0 ? emptied(`${family} ${tableName(network.id)}`) : []),
    ...guards,
    '',
  ].join('\n')
}

/** The rules of how packets leave and reach the network; the LAN of somebody else's bridge is no business of ours. Empty there. */
export function wayRules(network: NetworkSpec, wires: readonly Wire[]): string {
  if (isHosts(network)) return ''
  const table = `inet ${tableName(network.id)}`
  return [
    ...emptied(table),
    `table ${table} {`,
    `  comment "${tableComment(network.id)}"`,
    ...chain('input', 'type filter hook input priority filter; policy accept;', inputRules(network)),
    ...chain('forward', 'type filter hook forward priority filter; policy accept;', [
      ...admittedRules(network, wires),
      ...forwardRules(network),
    ]),
    ...(network.mode === 'nat' ? natChains(network, wires) : []),
    '}',
  ].join('\n')
}

/** What guards the NICs of a network, at the ports of its bridge or at their macvtaps; nothing where there is nothing to guard. */
export function guardRules(
  network: NetworkSpec,
  wires: readonly Wire[],
  counts?: RuleCounts,
): readonly string[] {
  return network.mode === 'macvtap'
    ? macvtapTable(network, wires, counts)
    : guardTable(network, wires, counts)
}

/** Whether the link that guests are on is the host's, and its LAN somebody else's. */
function isHosts({ mode }: NetworkSpec): boolean {
  return mode === 'bridge' || mode === 'macvtap'
}

/** A family of nftables in which a network may have a table of its name. */
export type RuleFamily = 'inet' | 'bridge' | 'netdev'

/** The text that takes the rules of a network away, of the families of which there are any. */
export function ruleSetRemoval(networkId: string, families: readonly RuleFamily[]): string {
  return families.map((family) => `delete table ${family} ${tableName(networkId)}\n`).join('')
}

/** It is made first, so that there is one to delete. */
function emptied(table: string): readonly string[] {
  return [`add table ${table}`, `delete table ${table}`]
}

function chain(name: string, head: string, rules: readonly string[]): readonly string[] {
  return [`  chain ${name} {`, `    ${head}`, ...rules.map((rule) => `    ${rule}`), '  }']
}

/** Of an isolated network, the host's other addresses are outside. */
function inputRules({ mode, bridge, ipv4, ipv6 }: NetworkSpec): readonly string[] {
  if (mode !== 'isolated') return []
  const from = `iifname "${bridge}"`
  return [
    // Of the subnet itself only the gateway's address and the broadcast are the host's.
    ...(ipv4 ? [`${from} ip daddr { ${ipv4.subnet}, 255.255.255.255, 224.0.0.0/4 } accept`] : []),
    ...(ipv6 ? [`${from} ip6 daddr { ${ipv6.subnet}, fe80::/10, ff00::/8 } accept`] : []),
    `${from} drop`,
  ]
}

function forwardRules(network: NetworkSpec): readonly string[] {
  const { mode, bridge } = network
  const [into, from] = [`oifname "${bridge}"`, `iifname "${bridge}"`]
  const refuse = 'reject with icmpx type admin-prohibited'
  const subnets = subnetsOf(network)
  // Frames between two guests come here too where br_netfilter is loaded, as Docker does.
  const among = `${from} ${into} accept`
  if (mode === 'isolated') return [among, `${from} ${refuse}`, `${into} ${refuse}`]
  const out = subnets.map(({ word, subnet }) => `${from} ${word} saddr ${subnet} accept`)
  const back =
    mode === 'nat'
      ? subnets.map(
          ({ word, subnet }) => `${into} ${word} daddr ${subnet} ct state established,related accept`,
        )
      : subnets.map(({ word, subnet }) => `${into} ${word} daddr ${subnet} accept`)
  return [among, ...out, ...back, `${from} ${refuse}`, `${into} ${refuse}`]
}

/** Priorities by number: `dstnat` is none in the output hook for nft(8) before 1.0.7. */
function natChains(network: NetworkSpec, wires: readonly Wire[]): readonly string[] {
  return [
    ...chain('raw', 'type filter hook prerouting priority raw; policy accept;', loopbackRules(network)),
    ...chain('prerouting', 'type nat hook prerouting priority -100; policy accept;', preroutingRules(wires)),
    ...chain('output', 'type nat hook output priority -100; policy accept;', outputRules(wires)),
    ...chain('postrouting', 'type nat hook postrouting priority srcnat; policy accept;', [
      ...hairpinRules(network, wires),
      ...natRules(network),
    ]),
  ]
}

/** What leaves by another link than the bridge gets the host's address there; what is meant for all of a link stays as it is. */
function natRules(network: NetworkSpec): readonly string[] {
  const local = { ip: '224.0.0.0/4, 255.255.255.255', ip6: 'ff00::/8, fe80::/10' } as const
  return subnetsOf(network).map(
    ({ word, subnet }) =>
      `oifname != "${network.bridge}" ${word} saddr ${subnet} ${word} daddr != { ${subnet}, ${local[word]} } masquerade`,
  )
}

function subnetsOf({ ipv4, ipv6 }: NetworkSpec) {
  return [
    ...(ipv4 ? [{ word: 'ip' as const, subnet: ipv4.subnet }] : []),
    ...(ipv6 ? [{ word: 'ip6' as const, subnet: ipv6.subnet }] : []),
  ]
}
