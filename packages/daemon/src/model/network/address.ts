/**
 * Addresses and subnets of IPv4 and IPv6 as numbers, to be compared and counted.
 *
 * Not here: which of them a network may have (resolve-network.ts, collisions.ts).
 */

export type Family = 4 | 6

/** An address: its number and its family. */
export interface Address {
  readonly family: Family
  readonly value: bigint
}

/** All addresses that begin with the same bits; `base` has zeros for all others. */
export interface Subnet {
  readonly family: Family
  readonly base: bigint
  readonly prefix: number
}

const bitsOf = { 4: 32, 6: 128 } as const

/** The address that a text is; undefined for what is none. Zones (`%eth0`) are not taken. */
export function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

/** The subnet that a text such as `10.0.0.0/8` is, or the one that an address with a prefix lies in; undefined for what is none. */
export function parseSubnet(text: string): Subnet | undefined {
  const [before = '', after, ...rest] = text.split('/')
  const address = parseAddress(before)
  if (!address || after === undefined || rest.length > 0 || !/^\d{1,3}$/.test(after)) return undefined
  const prefix = Number(after)
  return prefix > bitsOf[address.family] ? undefined : subnetOf(address, prefix)
}

/** The subnet with a prefix of that length which an address lies in. */
function subnetOf({ family, value }: Address, prefix: number): Subnet {
  const hostBits = BigInt(bitsOf[family] - prefix)
  return { family, base: (value >> hostBits) << hostBits, prefix }
}

/** The last address of a subnet: in IPv4, its broadcast address. */
export function lastOf({ family, base, prefix }: Subnet): bigint {
  return base + (1n << BigInt(bitsOf[family] - prefix)) - 1n
}

/** Whether an address lies in a subnet. */
export function isInside({ family, value }: Address, subnet: Subnet): boolean {
  return family === subnet.family && value >= subnet.base && value <= lastOf(subnet)
}

/** Whether an address is one of a host: in a subnet, and neither its first address, which names it, nor its last, which means all. */
export function isHost(address: Address, subnet: Subnet): boolean {
  return isInside(address, subnet) && address.value !== subnet.base && address.value !== lastOf(subnet)
}

/** Whether two subnets share an address: then one lies in the other. */
export function overlap(a: Subnet, b: Subnet): boolean {
  return a.family === b.family && a.base <= lastOf(b) && b.base <= lastOf(a)
}

/** An address as text; IPv6 as RFC 5952 has it. */
export function formatAddress({ family, value }: Address): string {
  return family === 4 ? formatIpv4(value) : formatIpv6(value)
}

/** A subnet as text, such as `10.0.0.0/8`. */
export function formatSubnet({ family, base, prefix }: Subnet): string {
  return `${formatAddress({ family, value: base })}/${prefix}`
}

function parseIpv4(text: string): Address | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return { family: 4, value: parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n) }
}

function parseIpv6(text: string): Address | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map(groupsOf)
  if (!head || (halves.length === 2 && !tail)) return undefined
  const missing = 8 - head.length - (tail?.length ?? 0)
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...(tail ?? [])]
  return { family: 6, value: groups.reduce((sum, group) => (sum << 16n) + BigInt(group), 0n) }
}

/** The 16-bit groups of a part of an IPv6 address; its last 32 bits may be written as IPv4. */
function groupsOf(text: string): readonly number[] | undefined {
  if (text === '') return []
  const words = text.split(':')
  const embedded = words.at(-1)?.includes('.') ? parseIpv4(words.pop() ?? '') : undefined
  const groups = words.map((word) =>
    /^[0-9a-fA-F]{1,4}$/.test(word) ? Number.parseInt(word, 16) : undefined,
  )
  if (embedded) groups.push(Number(embedded.value >> 16n), Number(embedded.value & 0xffffn))
  const known = groups.filter((group) => group !== undefined)
  return known.length === groups.length ? known : undefined
}

function formatIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.')
}

function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    Number((value >> BigInt(112 - 16 * index)) & 0xffffn),
  )
  const words = groups.map((group) => group.toString(16))
  const { start, length } = longestZeros(groups)
  if (length < 2) return words.join(':')
  return `${words.slice(0, start).join(':')}::${words.slice(start + length).join(':')}`
}

function longestZeros(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 }
  for (let start = 0; start < groups.length; start++) {
    const next = groups.findIndex((group, index) => index >= start && group !== 0)
    const length = (next === -1 ? groups.length : next) - start
    if (length > best.length) best = { start, length }
  }
  return best
}
