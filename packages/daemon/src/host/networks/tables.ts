/**
 * The tables of a network in nftables: by their marks they are known as its, and by a note of what nft(8) says of them a later change is seen.
 *
 * A network on the host's own LAN has rules only for NICs that are guarded or limited. Where there is no nft(8), it goes without as long as no
 * NIC is; the note of such a one is empty.
 */
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import { lacksEgress } from '../../model/network/lan-guards.ts'
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
  const tables = await tablesIfAny(network, wires)
  if (!tables) return await noteNone(folder)
  const text = ruleSet(network, wires, withCounts(tables.get(guardFamily(network))))
  await applyText(network, text)
  await noteRules(network, folder, wires)
}

/** The same for a network that is there, in the least time; the note is left to `noteRules`. `network-refused` as `areTablesThere`. */
export async function replaceRules(
  network: NetworkSpec,
  wires: readonly Wire[],
  options: { readonly keepsWays: boolean },
): Promise<void> {
  const family = guardFamily(network)
  const guards = await orWithoutNft(() => readTable(family, tableName(network.id)), { network, wires })
  if (guards === withoutNft) return
  if (guards !== undefined) requireMarked(guards, { family, network })
  const text = ruleSet(network, wires, { ...options, ...withCounts(guards) })
  await applyText(network, text)
}

async function applyText({ name, mode }: NetworkSpec, text: string): Promise<void> {
  if (text === '') return
  const consequence = `network ${name} has not the rules that it is to have`
  await applyRules(text, consequence).catch((error: unknown) => {
    const isRefused = mode === 'macvtap' && error instanceof KvasirError && error.code === 'host-failed'
    const why = isRefused ? lacksEgress(error.message) : undefined
    throw why === undefined
      ? error
      : new KvasirError('unsupported', `On network ${name}, ${why}, so ${consequence}.`, { cause: error })
  })
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

/** Whether there are any, or nobody can tell. `network-refused` when one of their name is somebody else's. */
export async function areTablesThere(network: NetworkSpec, wires: readonly Wire[]): Promise<boolean> {
  const tables = await tablesIfAny(network, wires)
  if (!tables) return true
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
export async function removeTables(network: NetworkSpec, folder: string): Promise<void> {
  const tables = (await hasNone(folder)) ? await tablesIfAny(network, []) : await tablesOf(network)
  const own = [...(tables ?? [])].flatMap(([family, text]) => (isMarked(text, network) ? [family] : []))
  if (own.length > 0)
    await applyRules(ruleSetRemoval(network.id, own), `the rules of network ${network.name} stay`)
}

/** What is to be said of them, and what they have dropped. Rules that cannot be read, as without nft, hide nothing else that is seen. */
export async function inspectRules(
  network: NetworkSpec,
  folder: string,
  wires: readonly Wire[],
): Promise<{
  readonly findings: readonly NetworkFinding[]
  readonly lasting: readonly NetworkFinding[]
  readonly counts?: RuleCounts
}> {
  const found = (detail: string) => [{ thing: 'firewall' as const, detail }]
  try {
    const { areAsPut, counts } = await inspectTables(network, folder)
    const changed = areAsPut ? [] : found('Its rules are gone, or not those that were made.')
    return { findings: changed, lasting: [], counts }
  } catch (error) {
    if (!(error instanceof KvasirError)) throw error
    if (!isWithoutNft(error) || !needsNone(network, wires) || !(await hasNone(folder)))
      return { findings: found(error.message), lasting: [] }
    const none =
      'nft is not installed, so no NIC on it can be guarded or limited; the package nftables has it.'
    return { findings: [], lasting: found(none) }
  }
}

/** Whether they are as they were put, and what they have dropped. None never are, also where they were gone before they were noted. */
async function inspectTables(
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

/** Those that are there; undefined where there is no nft(8), and nothing for it to do. */
async function tablesIfAny(
  network: NetworkSpec,
  wires: readonly Wire[],
): Promise<ReadonlyMap<RuleFamily, string> | undefined> {
  const tables = await orWithoutNft(() => tablesOf(network), { network, wires })
  return tables === withoutNft ? undefined : tables
}

const withoutNft = Symbol('There is no nft, and nothing for it to do.')

async function orWithoutNft<T>(
  work: () => Promise<T>,
  { network, wires }: { readonly network: NetworkSpec; readonly wires: readonly Wire[] },
): Promise<T | typeof withoutNft> {
  try {
    return await work()
  } catch (error) {
    if (isWithoutNft(error) && needsNone(network, wires)) return withoutNft
    throw error
  }
}

function isWithoutNft(error: unknown): boolean {
  return error instanceof KvasirError && error.code === 'unsupported' && error.details['program'] === 'nft'
}

function needsNone(network: NetworkSpec, wires: readonly Wire[]): boolean {
  return familiesOf(network, wires).length === 0
}

/** What was noted before stays: its tables may be there. */
async function noteNone(folder: string): Promise<void> {
  await writeFile(noteIn(folder), '', { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

/** Whether the network was put without any. */
async function hasNone(folder: string): Promise<boolean> {
  return (await readFile(noteIn(folder), 'utf8').catch(() => undefined)) === ''
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
