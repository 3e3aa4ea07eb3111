/** The tables of a network in nftables: by their marks they are known as its, and by a note of what nft(8) says of them a later change is seen. */
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { tableComment, tableName } from '../../model/network/link-names.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { type RuleCounts, ruleCounts, withoutCounts } from '../../model/network/rule-counts.ts'
import {
  guardRules,
  type RuleFamily,
  ruleSet,
  ruleSetRemoval,
  wayRules,
} from '../../model/network/rule-set.ts'
import type { Wire } from '../../model/network/wires.ts'
import { applyRules, readTable } from './network-commands.ts'

/** The family of what guards a network's NICs: of ports of a bridge, or of macvtaps. */
function guardFamily({ mode }: NetworkSpec): RuleFamily {
  return mode === 'macvtap' ? 'netdev' : 'bridge'
}

/** Puts the rules in place, all of them or none, and notes them. */
export async function putRules(network: NetworkSpec, folder: string, wires: readonly Wire[]): Promise<void> {
  const guards = (await tablesOf(network)).get(guardFamily(network))
  const text = ruleSet(network, wires, withCounts(guards))
  if (text !== '') await applyRules(text, `network ${network.name} has not the rules that it is to have`)
  await noteRules(network, folder, wires)
}

/** The same for a network that is there, in the least time; the note is left to `noteRules`. `network-refused` as `areTablesThere`. */
export async function replaceRules(
  network: NetworkSpec,
  wires: readonly Wire[],
  options: { readonly keepsWays: boolean },
): Promise<void> {
  const family = guardFamily(network)
  const guards = await readTable(family, tableName(network.id))
  if (guards !== undefined) requireMarked(guards, { family, network })
  const text = ruleSet(network, wires, { ...options, ...withCounts(guards) })
  if (text !== '') await applyRules(text, `network ${network.name} has not the rules that it is to have`)
}

/** What the next rules are to know of the guards that are there. */
function withCounts(guards: string | undefined): {
  readonly hasGuards: boolean
  readonly counts: RuleCounts
} {
  return { hasGuards: guards !== undefined, counts: ruleCounts(guards ?? '') }
}

/** Notes the rules that are there as those that are to be; where a table is gone, nothing is noted, and they are not as put. */
export async function noteRules(network: NetworkSpec, folder: string, wires: readonly Wire[]): Promise<void> {
  const tables = await tablesOf(network)
  const isWhole = familiesOf(network, wires).every((family) => tables.has(family))
  if (isWhole) await writeFile(noteIn(folder), digestOf(tables) ?? '', { mode: 0o600 })
}

function familiesOf(network: NetworkSpec, wires: readonly Wire[]): readonly RuleFamily[] {
  return [
    ...(wayRules(network, wires) === '' ? [] : (['inet'] as const)),
    ...(guardRules(network, wires).length === 0 ? [] : [guardFamily(network)]),
  ]
}

/** Whether there are any. `network-refused` when one of their name is somebody else's. */
export async function areTablesThere(network: NetworkSpec): Promise<boolean> {
  const tables = await tablesOf(network)
  for (const [family, text] of tables) requireMarked(text, { family, network })
  return tables.size > 0
}

function requireMarked(
  text: string,
  { family, network }: { readonly family: RuleFamily; readonly network: NetworkSpec },
): void {
  if (isMarked(text, network)) return
  throw new KvasirError(
    'network-refused',
    `The table ${tableName(network.id)} of nftables (${family}) is there and was not made for network ${network.name}, so the network is not started and the table stays.`,
    { details: { network: network.name } },
  )
}

/** Takes them away, and no others of their name. */
export async function removeTables(network: NetworkSpec): Promise<void> {
  const own = [...(await tablesOf(network))].flatMap(([family, text]) =>
    isMarked(text, network) ? [family] : [],
  )
  if (own.length > 0)
    await applyRules(ruleSetRemoval(network.id, own), `the rules of network ${network.name} stay`)
}

/** Whether they are as they were put, and what they have dropped. None never are, also where they were gone before they were noted. */
export async function inspectTables(
  network: NetworkSpec,
  folder: string,
): Promise<{ readonly areAsPut: boolean; readonly counts: RuleCounts }> {
  const tables = await tablesOf(network)
  const now = digestOf(tables)
  const isComplete = now !== undefined || wayRules(network, []) === '' // It may have nothing to guard.
  const noted = await readFile(noteIn(folder), 'utf8').catch(() => undefined)
  const counts = ruleCounts(tables.get(guardFamily(network)) ?? '')
  return { areAsPut: isComplete && (now ?? '') === noted, counts }
}

async function tablesOf({ id, mode }: NetworkSpec): Promise<ReadonlyMap<RuleFamily, string>> {
  const families = mode === 'macvtap' ? (['netdev'] as const) : (['inet', 'bridge'] as const)
  const texts = await Promise.all(
    families.map(async (family) => [family, await readTable(family, tableName(id))] as const),
  )
  return new Map(texts.flatMap(([family, text]) => (text === undefined ? [] : [[family, text]])))
}

function isMarked(text: string, { id }: NetworkSpec): boolean {
  return text.includes(`comment "${tableComment(id)}"`)
}

function digestOf(tables: ReadonlyMap<RuleFamily, string>): string | undefined {
  const texts = [...tables.values()].map(withoutCounts)
  return texts.length === 0 ? undefined : createHash('sha256').update(texts.join('')).digest('hex')
}

function noteIn(folder: string): string {
  return join(folder, 'rules.sha256')
}
