/** Frames that a guest could send, as hexadecimal digits, and which of them a guard lets pass. */

const [own, other] = ['525400000001', '525400000002']
const [own4, other4] = ['0a090002', '0a090003']
const [own6, other6] = ['fe80000000000000505400fffe000001', 'fe80000000000000505400fffe000002']
const [site6, private6] = [
  'fd000001000000000000000000000000'.slice(0, 16) + own6.slice(16),
  `fd000001${'0'.repeat(20)}beef`,
]
const none6 = '0'.repeat(32)
const all6 = `ff02${'0'.repeat(27)}1`

/** What a guest sends, and whether it is to arrive. */
export const guestFrames: readonly (readonly [what: string, arrives: boolean, frame: string])[] = [
  ['ARP in its own name', true, ethernet('0806', arp(own, own4))],
  ['a look whether an address is free', true, ethernet('0806', arp(own, '00000000'))],
  ['IPv4 from its address', true, ethernet('0800', udp4(own4, 1000, 2000))],
  ['a request for a lease', true, ethernet('0800', udp4('00000000', 68, 67, bootp(own)))],
  ['a solicitation', true, ethernet('86dd', icmp6(own6, 135, other6))],
  ['an answer for its own address', true, ethernet('86dd', icmp6(own6, 136, own6))],
  ['IPv6 from its address by SLAAC', true, ethernet('86dd', ip6(site6, 59, ''))],
  ['a look whether its own IPv6 address is free', true, ethernet('86dd', icmp6(none6, 135, own6))],
  ['a call for routers', true, ethernet('86dd', icmp6(own6, 133, ''))],
  ['a frame with another MAC address', false, ethernet('0800', udp4(own4, 1000, 2000), other)],
  ['ARP for another address', false, ethernet('0806', arp(own, other4))],
  ['ARP for the gateway', false, ethernet('0806', arp(own, '0a090001'))],
  ['ARP with another MAC address within', false, ethernet('0806', arp(other, own4))],
  ['IPv4 from another address', false, ethernet('0800', udp4(other4, 1000, 2000))],
  ['IPv4 from outside the network', false, ethernet('0800', udp4('08080808', 1000, 2000))],
  ['an answer of a DHCP server', false, ethernet('0800', udp4(own4, 67, 68, bootp(other)))],
  ['a request for a lease in another name', false, ethernet('0800', udp4('00000000', 68, 67, bootp(other)))],
  ['the same from its address', false, ethernet('0800', udp4(own4, 68, 67, bootp(other)))],
  ['a router’s advertisement', false, ethernet('86dd', icmp6(own6, 134, ''))],
  ['a redirect', false, ethernet('86dd', icmp6(own6, 137, other6))],
  ['an answer for another address', false, ethernet('86dd', icmp6(own6, 136, other6))],
  ['the same from there', false, ethernet('86dd', icmp6(other6, 136, other6))],
  ['a look that takes another’s address', false, ethernet('86dd', icmp6(none6, 135, other6))],
  ['IPv6 from another address', false, ethernet('86dd', ip6(other6, 59, ''))],
  ['IPv6 from an address of chance', false, ethernet('86dd', ip6(private6, 59, ''))],
  ['an answer of a DHCPv6 server', false, ethernet('86dd', ip6(own6, 17, '0223022200080000'))],
  [
    'an advertisement behind an option',
    false,
    ethernet('86dd', ip6(own6, 0, `3a00010400000000${icmp(134, '')}`)),
  ],
  [
    'an advertisement in a fragment',
    false,
    ethernet('86dd', ip6(own6, 44, `3a00000100000001${icmp(134, '')}`)),
  ],
  ['a frame of a VLAN', false, ethernet('8100', `0005 0800${udp4(own4, 1000, 2000)}`.replaceAll(' ', ''))],
  ['a frame of another protocol', false, ethernet('88cc', '00')],
]

function ethernet(type: string, payload: string, source = own): string {
  return `${'f'.repeat(12)}${source}${type}${payload}`
}

function arp(mac: string, address: string): string {
  return `0001080006040002${mac}${address}${'f'.repeat(12)}0a090001`
}

function udp4(source: string, from: number, to: number, payload = '00000000'): string {
  const length = 8 + payload.length / 2
  const udp = `${hex(from, 2)}${hex(to, 2)}${hex(length, 2)}0000${payload}`
  return `4500${hex(20 + length, 2)}0000000040110000${source}ffffffff${udp}`
}

function bootp(mac: string): string {
  return `01010600${'0'.repeat(48)}${mac}${'0'.repeat(20)}`
}

function ip6(source: string, next: number, payload: string): string {
  return `60000000${hex(payload.length / 2, 2)}${hex(next, 1)}ff${source}${all6}${payload}`
}

function icmp6(source: string, type: number, target: string): string {
  return ip6(source, 58, icmp(type, target))
}

function icmp(type: number, target: string): string {
  return `${hex(type, 1)}00000000000000${target}`
}

function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, '0')
}
