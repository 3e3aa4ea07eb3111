/**
 * What rules of others drop of a network's packets, and what to do about it. `accept` in our own table cannot outrank them, so whoever
 * runs that firewall has to let the packets through; who may pass is still decided by the network's own table.
 */
import type { NetworkFinding } from '@kvasir/contract'
import type { HostFilters } from '../host-filters.ts'
import { tableName } from '../link-names.ts'
import type { NetworkSpec } from '../network-record.ts'
import type { Wire } from '../wires.ts'
import { probesOf } from './probes.ts'
import { readLegacy } from './read-legacy.ts'
import { endOf, type Found, ownerOf, remedyOf } from './remedies.ts'
import { type Chain, type Ruleset, readRuleset, ruleText } from './ruleset.ts'
import { dropsOf } from './walk-chains.ts'

/** More findings than this tell nobody more. */
const mostFindings = 16

/** What others drop of a network, one finding for each rule or policy that does. */
export function foreignDrops(
  network: NetworkSpec,
  { wires, filters }: { readonly wires: readonly Wire[]; readonly filters: HostFilters },
): readonly NetworkFinding[] {
  const ruleset = foreign(filters, network)
  const found = new Map<string, Found>()
  for (const { words, packet } of probesOf(network, { wires, filters }))
    for (const drop of dropsOf(packet, ruleset)) {
      const { family, table, name, isLegacy } = drop.chain
      const at = drop.rule?.handle ?? 'policy'
      const key = JSON.stringify([isLegacy, family, table, name, at, drop.base.name])
      const known = found.get(key) ?? { drop, words: new Set(), ends: new Set() }
      known.words.add(words)
      known.ends.add(endOf(packet, network))
      found.set(key, known)
    }
  return [...unread(filters), ...[...found.values()].map((one) => findingOf(one))].slice(0, mostFindings)

  function findingOf(one: Found): NetworkFinding {
    const fix = [...remedyOf(one, network, ruleset)]
    return {
      thing: 'firewall',
      detail: sentenceOf(one, filters.text),
      ...(fix.length === 0 ? {} : { fix }),
    }
  }
}

function foreign({ ruleset, text, legacy }: HostFilters, { id }: NetworkSpec): Ruleset {
  const { chains, sets } = readRuleset(ruleset, text)
  return {
    chains: [
      ...chains.filter(({ table }) => table !== tableName(id)),
      ...legacy.flatMap(({ family, saved }) => (saved === undefined ? [] : readLegacy(saved, family))),
    ],
    sets,
  }
}

/** Tables that the kernel has and nobody here can read: whoever made them brought a program along, as containers do. */
function unread({ legacy }: HostFilters): readonly NetworkFinding[] {
  return legacy.flatMap(({ family, saved }) => {
    if (saved !== undefined) return []
    const program = `${programOf(family === 4 ? 'ip' : 'ip6')}-save`
    const detail = `The host has tables of ${programOf(family === 4 ? 'ip' : 'ip6')}, and ${program} of the package iptables does not tell what is in them: whether they drop its packets is not known.`
    return [{ thing: 'firewall', detail }]
  })
}

function sentenceOf({ drop, words }: Found, text: string): string {
  const { base, chain, rule } = drop
  const [last, ...before] = [...words].reverse()
  const what = before.length === 0 ? last : `${before.reverse().join(', ')} and ${last}`
  const where = `of table ${tableOf(base)}`
  if (!rule) return `The policy of chain ${base.name} ${where} drops ${what}.`
  const said = chain.isLegacy ? rule.text : ruleText(text, { ...chain, handle: rule.handle })
  const quoted = said === undefined ? '' : ` (${said})`
  return `Rule ${rule.handle}${quoted} in chain ${chain.name} ${where} drops ${what}.`
}

function tableOf(base: Chain): string {
  if (base.isLegacy) return `${base.table} of ${programOf(base.family)}`
  const owner = ownerOf(base)
  return `${base.family} ${base.table}${owner === undefined ? '' : ` (${owner})`}`
}

function programOf(family: string): string {
  return family === 'ip6' ? 'ip6tables-legacy' : 'iptables-legacy'
}
