/**
 * Which addresses a download may be fetched from: those of the public Internet. Everything that could be this host, its network or its
 * cloud's metadata service is not (IANA's special-purpose registries for IPv4 and IPv6, RFC 6890).
 *
 * Not here: resolving names (host/images/download.ts).
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net'

const specialIpv4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const

/** Parts of 2000::/3, outside of which no global unicast address lies: protocols, documentation, 6to4 (which wraps any IPv4 address). */
const specialIpv6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const

/** True for a literal IPv4 or IPv6 address of the public Internet; false for every other text. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !listOf(specialIpv4, 'ipv4').check(address, 'ipv4')
  if (!isIPv6(address)) return false
  const isGlobal = listOf([['2000::', 3]], 'ipv6').check(address, 'ipv6')
  return isGlobal && !listOf(specialIpv6, 'ipv6').check(address, 'ipv6')
}

function listOf(subnets: readonly (readonly [string, number])[], family: 'ipv4' | 'ipv6'): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of subnets) list.addSubnet(network, prefix, family)
  return list
}
