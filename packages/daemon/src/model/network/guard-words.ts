/** Words of nft(8) that guards share (guard-rules.ts, lan-guards.ts), and the numbers in them. */
import { parseAddress } from './address.ts'

/** Offsets: of UDP's payload, and of the address of the client in it (RFC 2131, chapter 2). */
export const clientBits = (8 + 28) * 8

/** The address that a solicitation or an advertisement is about begins after eight bytes (RFC 4861, 4.3 and 4.4). */
export const targetBits = 8 * 8

/** The elements of a set. */
export function elements(all: readonly string[]): string {
  return `    elements = { ${all.join(', ')} }`
}

/** Modified EUI-64: ff:fe in the middle, and the bit for a universal address turned over. */
export function interfaceId(mac: string): bigint {
  const bytes = mac.split(':').map((pair) => BigInt(`0x${pair}`))
  const [first = 0n, ...rest] = bytes
  const all = [first ^ 2n, ...rest.slice(0, 2), 0xffn, 0xfen, ...rest.slice(2)]
  return all.reduce((sum, byte) => (sum << 8n) + byte, 0n)
}

/** An address of IPv6 as digits. */
export function hexOf(address: string): string {
  return (parseAddress(address)?.value ?? 0n).toString(16).padStart(32, '0')
}
