/**
 * The rules of a host's firewalls as nft(8) tells them in JSON (libnftables-json(5)), those of iptables-nft among them.
 *
 * Read with tolerance: what is not known here stays as it came, and who matches packets takes it for something that may or may not match.
 */
import { z } from 'zod'

/** What a rule does, one thing after another; each is an object of one member. */
export type Statement = Readonly<Record<string, unknown>>

export interface Rule {
  readonly handle: number
  readonly statements: readonly Statement[]
  /** The states of connections that a rule of iptables-nft is for, where nft(8) has words for them in its text alone. */
  readonly states: readonly string[] | undefined
  /** As iptables-legacy-save wrote it; what nft(8) has for a rule is `ruleText`. */
  readonly text?: string
}

export interface Chain {
  readonly family: string
  readonly table: string
  readonly name: string
  /** One of iptables-legacy, whose tables are others than those of nftables by the same name. */
  readonly isLegacy: boolean
  /** Of base chains alone. */
  readonly hook: string | undefined
  readonly type: string | undefined
  readonly policy: string | undefined
  readonly rules: readonly Rule[]
}

export interface Ruleset {
  readonly chains: readonly Chain[]
  /** The elements of sets and maps, by `FAMILY TABLE NAME`. */
  readonly sets: ReadonlyMap<string, readonly unknown[]>
}

const object = z.record(z.string(), z.unknown())

const entry = z.union([
  z.object({
    chain: z.object({
      family: z.string(),
      table: z.string(),
      name: z.string(),
      hook: z.string().optional(),
      type: z.string().optional(),
      policy: z.string().optional(),
    }),
  }),
  z.object({
    rule: z.object({
      family: z.string(),
      table: z.string(),
      chain: z.string(),
      handle: z.number(),
      expr: z.array(object).default([]),
    }),
  }),
  z.object({ set: namedSet() }),
  z.object({ map: namedSet() }),
  object,
])

const answer = z.object({ nftables: z.array(entry) })

/** Reads what `nft --json list ruleset` printed, and `nft --handle list ruleset` besides. */
export function readRuleset(told: unknown, text: string): Ruleset {
  const chains = new Map<string, Chain & { rules: Rule[] }>()
  const sets = new Map<string, readonly unknown[]>()
  for (const thing of answer.parse(told).nftables) {
    if (isOf('chain', thing)) {
      const { family, table, name, hook, type, policy } = thing.chain
      const chain = { family, table, name, hook, type, policy, isLegacy: false, rules: [] }
      chains.set(`${family} ${table} ${name}`, chain)
    } else if (isOf('rule', thing)) {
      const { family, table, chain, handle, expr } = thing.rule
      chains
        .get(`${family} ${table} ${chain}`)
        ?.rules.push({ handle, statements: expr, states: statesOf(thing.rule, text) })
    } else {
      const named = isOf('set', thing) ? thing.set : isOf('map', thing) ? thing.map : undefined
      if (named) sets.set(`${named.family} ${named.table} ${named.name}`, named.elem)
    }
  }
  return { chains: [...chains.values()], sets }
}

/** A rule as nft(8) writes it, out of what `nft --handle list ruleset` printed; undefined where it is not in there. */
export function ruleText(
  text: string,
  { family, table, handle }: { readonly family: string; readonly table: string; readonly handle: number },
): string | undefined {
  const lines = text.split('\n')
  const head = new RegExp(`^table ${family} ${escaped(table)} \\{`)
  const from = lines.findIndex((line) => head.test(line))
  if (from === -1) return undefined
  const length = lines.slice(from).indexOf('}')
  const found = lines
    .slice(from, length === -1 ? undefined : from + length)
    .find((line) => line.endsWith(` # handle ${handle}`) && !line.includes('{ # handle'))
  return found?.replace(/ # handle \d+$/, '').trim()
}

function statesOf(rule: { family: string; table: string; handle: number; expr: Statement[] }, text: string) {
  if (!rule.expr.some((statement) => 'xt' in statement)) return undefined
  return /\bct state ([a-z,]+)/.exec(ruleText(text, rule) ?? '')?.[1]?.split(',')
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function namedSet() {
  return z.object({
    family: z.string(),
    table: z.string(),
    name: z.string(),
    elem: z.array(z.unknown()).default([]),
  })
}

type Entry = z.output<typeof entry>

function isOf<Key extends 'chain' | 'rule' | 'set' | 'map'>(
  key: Key,
  thing: Entry,
): thing is Extract<Entry, Record<Key, { family: string }>> {
  const content = thing[key as keyof Entry] // The last member of the union may hold anything.
  return typeof content === 'object' && content !== null && 'family' in content && 'table' in content
}
