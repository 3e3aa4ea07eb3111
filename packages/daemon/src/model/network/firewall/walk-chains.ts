/**
 * The way of a packet through base chains of others: whether one of them surely drops it, and which rule or policy does.
 *
 * What may or may not match is walked both ways. A drop counts only when no way leads past it, so what is not understood never becomes a
 * false alarm; a drop behind it is then not told.
 */
import { type Answer, type Elements, elementsOf, holds, lookUp, type Packet } from './match-packet.ts'
import type { Chain, Rule, Ruleset, Statement } from './ruleset.ts'

/** What drops: a rule, or with no rule the policy of its chain. */
export interface Drop {
  /** The base chain that the packet came through. */
  readonly base: Chain
  readonly chain: Chain
  readonly rule: Rule | undefined
}

/** How a chain may end. */
interface Ends {
  readonly accepts: boolean
  readonly returns: boolean
  /** The last that surely drops what comes so far. */
  readonly drop: { readonly chain: Chain; readonly rule: Rule } | undefined
}

interface Walk {
  readonly ruleset: Ruleset
  readonly packet: Packet
  readonly elements: Elements
  /** How chains end that were walked, each once; one that is being walked is taken for one that accepts: the kernel takes no loops. */
  readonly walked: Map<Chain, Ends>
}

const passing: Ends = { accepts: false, returns: true, drop: undefined }
const accepting: Ends = { accepts: true, returns: false, drop: undefined }

/** Who surely drops a packet; several, where more than one base chain does. */
export function dropsOf(packet: Packet, ruleset: Ruleset): readonly Drop[] {
  return ruleset.chains
    .filter((chain) => isOnTheWay(chain, packet))
    .flatMap((base) => {
      const elements = elementsOf(ruleset, base)
      const ends = walk(base, { ruleset, packet: packetAt(base, packet), elements, walked: new Map() })
      if (ends.accepts) return []
      if (ends.returns && base.policy !== 'drop') return []
      return [{ base, ...(ends.drop ?? { chain: base, rule: undefined }) }]
    })
}

function isOnTheWay({ family, hook, type }: Chain, packet: Packet): boolean {
  const isOfFamily = family === packet.layer || (family === 'inet' && packet.layer !== 'bridge')
  return type === 'filter' && isOfFamily && hooksOf(packet).some((one) => one === hook)
}

/** Where rules may drop a packet on its way, one after another. */
function hooksOf({ hook }: Packet): readonly string[] {
  if (hook === 'output') return ['output', 'postrouting']
  return hook === 'input' ? ['prerouting', 'input'] : ['prerouting', 'forward', 'postrouting']
}

/** What is known of a packet in a chain: before it is routed not where it leaves, nor its destination where translation may give it another. */
function packetAt({ hook }: Chain, packet: Packet): Packet {
  if (hook !== 'prerouting') return packet
  const came = { ...packet, oifname: undefined }
  return packet.mayBeTurned === true ? { ...came, daddr: undefined, dport: undefined } : came
}

function walk(chain: Chain, way: Walk): Ends {
  const known = way.walked.get(chain)
  if (known) return known
  way.walked.set(chain, { accepts: true, returns: true, drop: undefined })
  const ends = walkRules(chain, way)
  way.walked.set(chain, ends)
  return ends
}

function walkRules(chain: Chain, way: Walk): Ends {
  let [accepts, returns] = [false, false]
  for (const rule of chain.rules)
    for (const { answer, ends } of outcomes(rule, chain, way)) {
      accepts ||= ends.accepts
      if (answer === 'yes' && !ends.returns) return { accepts, returns, drop: ends.drop }
      // It returns from this chain and does not go on in it.
      if (ends.leaves && answer === 'yes') return { accepts, returns: true, drop: undefined }
      if (ends.leaves) returns = true
    }
  return { accepts, returns: true, drop: undefined }
}

interface Outcome {
  readonly answer: Answer
  /** `leaves`: the chain of the rule is left by what returns. */
  readonly ends: Ends & { readonly leaves: boolean }
}

/** What a rule may do to the packet; nothing where it does not match. */
function outcomes(rule: Rule, chain: Chain, way: Walk): readonly Outcome[] {
  let answer: Answer = 'yes'
  for (const statement of rule.statements) {
    if ('match' in statement) {
      const holding = holds(statement['match'], way.packet, way.elements)
      if (holding === 'no') return []
      if (holding === 'maybe') answer = 'maybe'
      continue
    }
    // A match of iptables, of which nft(8) tells no more than the words that it has for it.
    if ('xt' in statement && rule.states && !rule.states.includes(way.packet.state)) return []
    if ('vmap' in statement)
      return lookUp(statement['vmap'], way.packet, way.elements).flatMap((found) => {
        const ends = endsOf(found.statement, { rule, chain, way })
        return ends ? [{ answer: both(answer, found.answer), ends }] : []
      })
    const ends = endsOf(statement, { rule, chain, way })
    if (ends) return [{ answer, ends }]
    if (!Object.keys(statement).every((key) => silent.has(key))) answer = 'maybe'
  }
  return []
}

/** Statements that neither match nor decide. */
const silent: ReadonlySet<string> = new Set([
  'counter',
  'log',
  'comment',
  'mangle',
  'continue',
  'meter',
  'set',
])

function endsOf(
  statement: Statement,
  at: { readonly rule: Rule; readonly chain: Chain; readonly way: Walk },
): (Ends & { readonly leaves: boolean }) | undefined {
  const { rule, chain, way } = at
  if ('accept' in statement || 'queue' in statement) return { ...accepting, leaves: false }
  if ('drop' in statement || 'reject' in statement || isRejectOfIptables(statement))
    return { accepts: false, returns: false, drop: { chain, rule }, leaves: false }
  if ('return' in statement) return { ...passing, leaves: true }
  const jump = targetOf(statement, 'jump')
  const target = jump ?? targetOf(statement, 'goto')
  if (target === undefined) return undefined
  const next = way.ruleset.chains.find(
    (other) =>
      other.isLegacy === chain.isLegacy &&
      other.family === chain.family &&
      other.table === chain.table &&
      other.name === target,
  )
  const ends = next ? walk(next, way) : { ...accepting, returns: true }
  return { ...ends, leaves: jump === undefined && ends.returns }
}

/** iptables-nft keeps some targets as they were: `{"xt": {"type": "target", "name": "REJECT"}}`. */
function isRejectOfIptables({ xt }: Statement): boolean {
  return typeof xt === 'object' && xt !== null && 'name' in xt && xt.name === 'REJECT'
}

function targetOf(statement: Statement, kind: 'jump' | 'goto'): string | undefined {
  const to = statement[kind]
  return typeof to === 'object' && to !== null && 'target' in to ? String(to.target) : undefined
}

function both(one: Answer, other: Answer): Answer {
  return one === 'yes' && other === 'yes' ? 'yes' : 'maybe'
}
