/**
 * Whether a packet of a network is what a statement of nftables looks for: yes, no, or maybe, where it depends on what is not known of the
 * packet or is not understood here. Forms: libnftables-json(5).
 */
import { isInside, lastOf, parseAddress, parseSubnet, type Subnet } from '../address.ts'
import type { Ruleset, Statement } from './ruleset.ts'

export type Answer = 'yes' | 'no' | 'maybe'

/** A packet as far as it is known; what is undefined may be anything. */
export interface Packet {
  /** `ip` and `ip6` for the host's own hooks, `bridge` for frames between ports. */
  readonly layer: 'ip' | 'ip6' | 'bridge'
  readonly hook: 'forward' | 'input' | 'output'
  readonly family: 4 | 6
  readonly iifname?: string | undefined
  readonly oifname?: string | undefined
  /** The bridge of a frame. */
  readonly bridge?: string | undefined
  /** All addresses that it may come from. */
  readonly saddr?: Subnet | undefined
  readonly daddr?: Subnet | undefined
  readonly protocol: 'tcp' | 'udp'
  readonly sport?: number | undefined
  readonly dport?: number | undefined
  readonly state: 'new' | 'established'
  /** Its destination was changed by a forward. */
  readonly isTurned?: boolean
  /** It came to another address: that of the host, which translates it. */
  readonly mayBeTurned?: boolean
}

/** `absent`: such a packet has none, so no comparison with it holds. */
type Value =
  | { readonly kind: 'word'; readonly word: string }
  | { readonly kind: 'number'; readonly number: number }
  | { readonly kind: 'subnet'; readonly subnet: Subnet }
  /** Bits, of which some are known. */
  | { readonly kind: 'flags'; readonly flags: Readonly<Record<string, boolean>> }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'absent' }

/** Elements of a named set of the table that is asked. */
export type Elements = (name: string) => readonly unknown[] | undefined

const unknown: Value = { kind: 'unknown' }
const absent: Value = { kind: 'absent' }
const numbersOfProtocols = new Map([
  ['tcp', 6],
  ['udp', 17],
])

/** The named sets of a table. */
export function elementsOf(
  { sets }: Ruleset,
  table: { readonly family: string; readonly table: string },
): Elements {
  return (name) => sets.get(`${table.family} ${table.table} ${name}`)
}

/** Whether a `match` holds. */
export function holds(match: unknown, packet: Packet, elements: Elements): Answer {
  const { op, left, right } = asObject(match)
  const value = partOf(left, packet)
  if (value.kind === 'absent') return 'no'
  if (value.kind === 'unknown') return 'maybe'
  if (op === '==' || op === 'in') return contains(right, value, elements)
  if (op === '!=') return negated(contains(right, value, elements))
  return value.kind === 'number' && typeof right === 'number'
    ? ordered(String(op), value.number, right)
    : 'maybe'
}

/** The verdicts of a verdict map that a packet may get, and whether it surely gets one of them. */
export function lookUp(
  vmap: unknown,
  packet: Packet,
  elements: Elements,
): readonly { readonly statement: Statement; readonly answer: Answer }[] {
  const { key, data } = asObject(vmap)
  const value = partOf(key, packet)
  if (value.kind === 'absent') return []
  return listOf(data, elements).flatMap((element) => {
    if (!Array.isArray(element)) return []
    const [wanted, statement]: readonly unknown[] = element
    const answer = value.kind === 'unknown' ? 'maybe' : contains(wanted, value, elements)
    return answer === 'no' ? [] : [{ statement: asObject(statement), answer }]
  })
}

function partOf(left: unknown, packet: Packet): Value {
  const { meta, payload, ct } = asObject(left)
  if (meta !== undefined) return metaOf(String(asObject(meta)['key']), packet)
  if (payload !== undefined) return payloadOf(asObject(payload), packet)
  if (ct !== undefined && packet.layer !== 'bridge') return trackedOf(String(asObject(ct)['key']), packet)
  return unknown
}

function metaOf(key: string, packet: Packet): Value {
  const { family, iifname, oifname, bridge, protocol } = packet
  switch (key) {
    case 'iif':
    case 'iifname':
      return wordOf(iifname)
    case 'oif':
    case 'oifname':
      return wordOf(oifname)
    case 'ibrname':
    case 'obrname':
      return wordOf(bridge)
    case 'l4proto':
      return wordOf(protocol)
    case 'nfproto':
      return packet.layer === 'bridge' ? unknown : wordOf(family === 4 ? 'ipv4' : 'ipv6')
    case 'protocol':
      return wordOf(family === 4 ? 'ip' : 'ip6')
    default:
      return unknown
  }
}

function payloadOf({ protocol, field }: Statement, packet: Packet): Value {
  const isIp = protocol === 'ip' || protocol === 'ip6'
  if (isIp && (protocol === 'ip') !== (packet.family === 4)) return absent
  if (isIp && field === 'saddr') return subnetOf(packet.saddr)
  if (isIp && field === 'daddr') return subnetOf(packet.daddr)
  if (isIp && (field === 'protocol' || field === 'nexthdr')) return wordOf(packet.protocol)
  if (protocol === 'ether' && field === 'type') return wordOf(packet.family === 4 ? 'ip' : 'ip6')
  if (protocol === packet.protocol || protocol === 'th') {
    if (field === 'sport') return numberOf(packet.sport)
    return field === 'dport' ? numberOf(packet.dport) : unknown
  }
  const isOther = ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'esp', 'ah', 'udplite', 'dccp', 'arp']
  return isOther.includes(String(protocol)) ? absent : unknown
}

function trackedOf(key: string, { state, isTurned }: Packet): Value {
  if (key === 'state') return wordOf(state)
  if (key === 'direction') return state === 'new' ? wordOf('original') : unknown
  return key === 'status' ? { kind: 'flags', flags: { dnat: isTurned === true } } : unknown
}

function contains(right: unknown, value: Value, elements: Elements): Answer {
  if (typeof right === 'string' && right.startsWith('@')) {
    const named = elements(right.slice(1))
    return named ? anyOf(named, value, elements) : 'maybe'
  }
  if (Array.isArray(right)) return anyOf(right, value, elements)
  if (typeof right !== 'object' || right === null) return equals(right, value)
  const { set, range, prefix, elem } = asObject(right)
  if (Array.isArray(set)) return anyOf(set, value, elements)
  if (elem !== undefined) return contains(asObject(elem)['val'], value, elements)
  if (Array.isArray(range)) return isBetween(range, value)
  if (prefix === undefined || value.kind !== 'subnet') return 'maybe'
  const { addr, len } = asObject(prefix)
  const wanted = parseSubnet(`${String(addr)}/${String(len)}`)
  return wanted ? isWithin(value.subnet, wanted.base, lastOf(wanted), wanted.family) : 'maybe'
}

function equals(right: unknown, value: Value): Answer {
  if (value.kind === 'word') {
    if (typeof right === 'number') return answerOf(numbersOfProtocols.get(value.word) === right)
    if (typeof right !== 'string') return 'maybe'
    return answerOf(right.endsWith('*') ? value.word.startsWith(right.slice(0, -1)) : value.word === right)
  }
  if (value.kind === 'flags') {
    const flag = value.flags[String(right)]
    return flag === undefined ? 'maybe' : answerOf(flag)
  }
  if (value.kind === 'number') return typeof right === 'number' ? answerOf(right === value.number) : 'maybe'
  const address = typeof right === 'string' ? parseAddress(right) : undefined
  if (!address || value.kind !== 'subnet') return 'maybe'
  return isWithin(value.subnet, address.value, address.value, address.family)
}

function isBetween(range: readonly unknown[], value: Value): Answer {
  const [first, last] = range
  if (value.kind === 'number' && typeof first === 'number' && typeof last === 'number')
    return answerOf(value.number >= first && value.number <= last)
  const [from, to] = [parseAddress(String(first)), parseAddress(String(last))]
  if (!from || !to || value.kind !== 'subnet') return 'maybe'
  return isWithin(value.subnet, from.value, to.value, from.family)
}

/** All of a subnet between two addresses: yes; nothing of it: no; some: maybe. */
function isWithin(subnet: Subnet, from: bigint, to: bigint, family: 4 | 6): Answer {
  if (subnet.family !== family || subnet.base > to || lastOf(subnet) < from) return 'no'
  const isAll = isInside({ family, value: from }, subnet) ? from === subnet.base : from < subnet.base
  return isAll && to >= lastOf(subnet) ? 'yes' : 'maybe'
}

function anyOf(all: readonly unknown[], value: Value, elements: Elements): Answer {
  const answers = all.map((one) => contains(one, value, elements))
  return answers.includes('yes') ? 'yes' : answers.includes('maybe') ? 'maybe' : 'no'
}

function listOf(data: unknown, elements: Elements): readonly unknown[] {
  if (typeof data === 'string' && data.startsWith('@')) return elements(data.slice(1)) ?? []
  const { set } = asObject(data)
  return Array.isArray(set) ? set : []
}

function ordered(op: string, value: number, right: number): Answer {
  const orders: Readonly<Record<string, boolean>> = {
    '<': value < right,
    '>': value > right,
    '<=': value <= right,
    '>=': value >= right,
  }
  const order = orders[op]
  return order === undefined ? 'maybe' : answerOf(order)
}

function negated(answer: Answer): Answer {
  return answer === 'maybe' ? 'maybe' : answerOf(answer === 'no')
}

function answerOf(is: boolean): Answer {
  return is ? 'yes' : 'no'
}

function wordOf(word: string | undefined): Value {
  return word === undefined ? unknown : { kind: 'word', word }
}

function numberOf(number: number | undefined): Value {
  return number === undefined ? unknown : { kind: 'number', number }
}

function subnetOf(subnet: Subnet | undefined): Value {
  return subnet ? { kind: 'subnet', subnet } : unknown
}

function asObject(value: unknown): Statement {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
