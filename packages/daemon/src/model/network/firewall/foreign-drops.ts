/**
 * What rules of others drop of a network's packets, and what to do about it. `accept` in our own table cannot outrank them, so whoever
 * runs that firewall has to let the packets through; who may pass is still decided by the network's own table.
 */
import type { NetworkFinding } from '@kvasir/contract'
import type { HostFilters } from '../host-filters.ts'
import { tableName } from '../link-names.ts'
import type { NetworkSpec } from '../network-record.ts'
import type { Wire } from '../wires.ts'
import type { Packet } from './match-packet.ts'
import { probesOf } from './probes.ts'
import { type Chain, type Ruleset, readRuleset, ruleText } from './ruleset.ts'
import { type Drop, dropsOf } from './walk-chains.ts'

/** More findings than this tell nobody more. */
const mostFindings = 16

interface Found {
  readonly drop: Drop
  readonly words: Set<string>
  readonly ends: Set<'from' | 'to'>
}

/** What others drop of a network, one finding for each rule or policy that does. */
export function foreignDrops(
  network: NetworkSpec,
  { wires, filters }: { readonly wires: readonly Wire[]; readonly filters: HostFilters },
): readonly NetworkFinding[] {
  const ruleset = foreign(readRuleset(filters.ruleset, filters.text), network)
  const found = new Map<string, Found>()
  for (const { words, packet } of probesOf(network, { wires, filters }))
    for (const drop of dropsOf(packet, ruleset)) {
      const { family, table, name } = drop.chain
      const key = JSON.stringify([family, table, drop.rule?.handle ?? name, drop.base.name])
      const known = found.get(key) ?? { drop, words: new Set(), ends: new Set() }
      known.words.add(words)
      known.ends.add(endOf(packet, network))
      found.set(key, known)
    }
  return [...found.values()].slice(0, mostFindings).map((one) => ({
    thing: 'firewall',
    detail: sentenceOf(one, filters.text),
    fix: [...remedyOf(one, network, ruleset)],
  }))
}

function foreign(ruleset: Ruleset, { id }: NetworkSpec): Ruleset {
  return { ...ruleset, chains: ruleset.chains.filter(({ table }) => table !== tableName(id)) }
}

/** Whether a packet comes by the bridge, or leaves by it; among guests it does both. */
function endOf({ iifname, layer }: Packet, { bridge }: NetworkSpec): 'from' | 'to' {
  return iifname === bridge || layer === 'bridge' ? 'from' : 'to'
}

function sentenceOf({ drop, words }: Found, text: string): string {
  const { base, chain, rule } = drop
  const [last, ...before] = [...words].reverse()
  const what = before.length === 0 ? last : `${before.reverse().join(', ')} and ${last}`
  const owner = ownerOf(base)
  const where = `of table ${base.family} ${base.table}${owner === undefined ? '' : ` (${owner})`}`
  if (!rule) return `The policy of chain ${base.name} ${where} drops ${what}.`
  const said = ruleText(text, { ...chain, handle: rule.handle })
  const quoted = said === undefined ? '' : ` (${said})`
  return `Rule ${rule.handle}${quoted} in chain ${chain.name} ${where} drops ${what}.`
}

type Owner = 'firewalld' | 'iptables'

/** Who is known to make such chains. */
function ownerOf({ family, table, name }: Chain): Owner | undefined {
  if (table.startsWith('firewalld')) return 'firewalld'
  const isOfIptables = ['INPUT', 'FORWARD'].includes(name) && (family === 'ip' || family === 'ip6')
  return isOfIptables && table === 'filter' ? 'iptables' : undefined
}

/** The commands after which the packets pass. They last until that firewall is loaded anew, unless they become part of its configuration. */
function remedyOf(
  { drop: { base }, ends }: Found,
  { bridge }: NetworkSpec,
  ruleset: Ruleset,
): readonly string[] {
  const owner = ownerOf(base)
  if (owner === 'firewalld')
    return [
      `firewall-cmd --zone=trusted --change-interface=${bridge}`,
      `firewall-cmd --permanent --zone=trusted --change-interface=${bridge}`,
    ]
  const own = ruleset.chains.filter(({ family, table }) => family === base.family && table === base.table)
  if (owner === 'iptables' && own.some(({ name }) => name.startsWith('ufw-')))
    return base.hook === 'input'
      ? [`ufw allow in on ${bridge}`]
      : [`ufw route allow in on ${bridge}`, `ufw route allow out on ${bridge}`]
  if (owner === 'iptables') {
    const isDocker = base.hook === 'forward' && own.some(({ name }) => name === 'DOCKER-USER')
    const command = `${base.family === 'ip' ? 'iptables' : 'ip6tables'} -I ${isDocker ? 'DOCKER-USER' : base.name}`
    return [
      ...(ends.has('from') ? [`${command} -i ${bridge} -j ACCEPT`] : []),
      ...(ends.has('to') ? [`${command} -o ${bridge} -j ACCEPT`] : []),
    ]
  }
  const command = `nft insert rule ${base.family} ${base.table} ${base.name}`
  if (base.family === 'bridge') return [`${command} meta ibrname "${bridge}" accept`]
  return [
    ...(ends.has('from') ? [`${command} iifname "${bridge}" accept`] : []),
    ...(ends.has('to') ? [`${command} oifname "${bridge}" accept`] : []),
  ]
}
