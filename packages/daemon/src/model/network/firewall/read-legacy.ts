/**
 * The rules of iptables-legacy, which the kernel keeps apart from those of nftables and nft(8) does not tell: what iptables-legacy-save(8)
 * and ip6tables-legacy-save(8) print, as chains of the same form. Options: iptables(8), iptables-extensions(8).
 *
 * An option that is not known here becomes a statement that nobody understands, so a packet may or may not match it.
 */
import type { Chain, Rule, Statement } from './ruleset.ts'

/** The built-in chains and where packets come to them. */
const hooks: Readonly<Record<string, string>> = {
  PREROUTING: 'prerouting',
  INPUT: 'input',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
}

/** Options that match nothing by themselves. */
const silent: ReadonlySet<string> = new Set(['-m', '--comment'])

/** Targets after which a packet goes on to the next rule. */
const passing: ReadonlySet<string> = new Set(
  'AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK CT DSCP HL LOG MARK NFLOG NOTRACK SECMARK SET TCPMSS TEE TOS TRACE TTL'.split(
    ' ',
  ),
)

interface Option {
  readonly name: string
  readonly values: readonly string[]
  readonly isNegated: boolean
}

/** The chains of one family out of what its iptables-legacy-save printed. */
export function readLegacy(saved: string, family: 4 | 6): readonly Chain[] {
  const chains = new Map<string, Chain & { rules: Rule[] }>()
  let table = ''
  for (const line of saved.split('\n').map((one) => one.trim())) {
    if (line.startsWith('*')) table = line.slice(1)
    const [, name, policy] = /^:(\S+) (\S+)/.exec(line) ?? []
    if (name !== undefined && policy !== undefined)
      chains.set(`${table} ${name}`, chainOf({ table, name, policy, family }))
    const [, to, rest] = /^-A (\S+) ?(.*)$/.exec(line) ?? []
    const chain = chains.get(`${table} ${to}`)
    if (chain && rest !== undefined)
      chain.rules.push({ handle: chain.rules.length + 1, ...ruleOf(rest, family), states: undefined })
  }
  return [...chains.values()]
}

function chainOf(of: {
  readonly table: string
  readonly name: string
  readonly policy: string
  readonly family: 4 | 6
}) {
  const { table, name, policy, family } = of
  const isBase = policy !== '-'
  return {
    family: family === 4 ? 'ip' : 'ip6',
    table,
    name,
    isLegacy: true,
    hook: isBase ? hooks[name] : undefined,
    type: isBase ? (table === 'nat' ? 'nat' : 'filter') : undefined,
    policy: isBase ? policy.toLowerCase() : undefined,
    rules: [],
  }
}

function ruleOf(text: string, family: 4 | 6): Pick<Rule, 'statements' | 'text'> {
  const options = optionsOf(text)
  const at = options.findIndex(({ name }) => name === '-j' || name === '-g')
  const statements = options.slice(0, at === -1 ? undefined : at).flatMap((one) => matchOf(one, family))
  const target = options[at] // What follows it are its own options.
  return { text, statements: target ? [...statements, targetOf(target)] : statements }
}

/** Splits a rule into its options. Values with spaces are quoted. */
function optionsOf(text: string): readonly Option[] {
  const options: { name: string; values: string[]; isNegated: boolean }[] = []
  let isNegated = false
  for (const [word] of text.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)) {
    if (word === '!') isNegated = true
    else if (/^--?[a-z]/i.test(word)) {
      options.push({ name: word, values: [], isNegated })
      isNegated = false
    } else options.at(-1)?.values.push(word)
  }
  return options
}

function targetOf({ name, values: [target = ''] }: Option): Statement {
  switch (target) {
    case 'ACCEPT':
      return { accept: null }
    case 'DROP':
      return { drop: null }
    case 'REJECT':
      return { reject: null }
    case 'RETURN':
      return { return: null }
    case 'QUEUE':
    case 'NFQUEUE':
      return { queue: null }
    default:
      if (passing.has(target)) return { continue: null }
      // A target that is no chain either may do anything.
      return name === '-g' ? { goto: { target } } : { jump: { target } }
  }
}

function matchOf({ name, values, isNegated }: Option, family: 4 | 6): readonly Statement[] {
  const [value = ''] = values
  const match = (left: object, right: unknown): readonly Statement[] => [
    { match: { op: isNegated ? '!=' : '==', left, right } },
  ]
  const protocol = family === 4 ? 'ip' : 'ip6'
  switch (name) {
    case '-i':
      return match({ meta: { key: 'iifname' } }, value.replace(/\+$/, '*'))
    case '-o':
      return match({ meta: { key: 'oifname' } }, value.replace(/\+$/, '*'))
    case '-p':
      return match({ meta: { key: 'l4proto' } }, value)
    case '-s':
      return match({ payload: { protocol, field: 'saddr' } }, addressOf(value))
    case '-d':
      return match({ payload: { protocol, field: 'daddr' } }, addressOf(value))
    case '--sport':
    case '--sports':
      return match({ payload: { protocol: 'th', field: 'sport' } }, portsOf(value))
    case '--dport':
    case '--dports':
      return match({ payload: { protocol: 'th', field: 'dport' } }, portsOf(value))
    case '--state':
    case '--ctstate':
      return match({ ct: { key: 'state' } }, { set: value.toLowerCase().split(',') })
    default:
      return silent.has(name) ? [] : [{ unknown: { name, values } }]
  }
}

function addressOf(value: string): unknown {
  const [addr, len] = value.split('/')
  return len !== undefined && /^\d+$/.test(len) ? { prefix: { addr, len: Number(len) } } : addr
}

function portsOf(value: string): unknown {
  const each = value.split(',').map((one) => {
    const [from = '', to] = one.split(':')
    return to === undefined ? Number(from) : { range: [Number(from), Number(to)] }
  })
  return { set: each }
}
