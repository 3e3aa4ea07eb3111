/** The guards of a port by frames: what a guest could send, sent raw from a network namespace, and what of it arrives in another. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { runCommand } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { tableName } from '../../model/network/link-names.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { dropsOf, ruleCounts } from '../../model/network/rule-counts.ts'
import { ruleSet } from '../../model/network/rule-set.ts'

const skip = needs('root')
const timeoutMs = 10_000
const [own, other] = ['525400000001', '525400000002']
const [own4, other4] = ['0a090002', '0a090003']
const [own6, other6] = ['fe80000000000000505400fffe000001', 'fe80000000000000505400fffe000002']
const [site6, private6] = [
  'fd000001000000000000000000000000'.slice(0, 16) + own6.slice(16),
  `fd000001${'0'.repeat(20)}beef`,
]
const none6 = '0'.repeat(32)
const all6 = `ff02${'0'.repeat(27)}1`
const lan: NetworkSpec = {
  id: '0b7e9a52-6f0b-4d58-9f61-1f0de8c0a001',
  name: 'lan',
  mode: 'nat',
  bridge: 'br0',
  mtu: 1500,
  ipv4: { subnet: '10.9.0.0/24', gateway: '10.9.0.1', dhcp: undefined },
  ipv6: { subnet: 'fd00:1::/64', gateway: 'fd00:1::1', dhcp: true },
  domain: 'lan.internal',
  reservations: [],
}

/** Sends each line of hexadecimal digits as a frame, or prints those that come for two seconds (packet(7)). */
const frames = `
use strict; use Socket; $| = 1;
socket(my $s, 17, 3, unpack('S', pack('n', 3))) or die; my $r = pack('Z16 x24', 'eth0');
ioctl($s, 0x8933, $r) or die; my (undef, $i) = unpack('Z16 i', $r);
my $a = pack('S n i x12', 17, 3, $i); bind($s, $a) or die;
if ($ARGV[0] eq 'send') { while (<STDIN>) { chomp; send($s, pack('H*', $_), 0, $a) or die "$!" } exit }
print "ready\\n"; my $end = time + 2;
while (time < $end) { my $w = ''; vec($w, fileno $s, 1) = 1; next unless select($w, undef, undef, 0.2);
  recv($s, my $f, 2048, 0); print unpack('H*', $f), "\\n" }
`

/** What a guest sends, and whether it is to arrive. */
const cases: readonly (readonly [what: string, arrives: boolean, frame: string])[] = [
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

test('of what a guarded guest sends, what is its own arrives, and nothing else', { skip }, async (t) => {
  const wire = {
    vm: 'web1',
    nic: 'net0',
    network: 'lan',
    tap: 'kvt1',
    mac: '52:54:00:00:00:01',
    forwards: [],
  }
  const guarded = { ...wire, address: '10.9.0.2', antiSpoof: true, isolated: false }
  const room = await openRoom(t)
  const argv = ['ip', 'netns', 'exec', room.host, 'nft', '-f', '-']
  const sent = cases.map(([, , frame], number) => frame.padEnd(120, '0') + tagOf(number))

  const without = await arrived(room, sent)
  await runCommand(argv, { timeoutMs, input: ruleSet(lan, [guarded], { hasGuards: false }) })
  const within = await arrived(room, sent)
  const list = [...argv.slice(0, -2), 'list', 'table', 'bridge', tableName(lan.id)] as const
  const counts = ruleCounts((await runCommand(list, { timeoutMs })).stdout)
  await runCommand(argv, { timeoutMs, input: ruleSet(lan, [guarded], { hasGuards: true, counts }) })
  const after = ruleCounts((await runCommand(list, { timeoutMs })).stdout)

  const namesOf = (numbers: readonly number[]) => numbers.map((number) => cases[number]?.[0])
  const all = cases.map((_, number) => number)
  assert.deepEqual(namesOf(without), namesOf(all), 'Without guards, all of it arrives.')
  assert.deepEqual(namesOf(within), namesOf(all.filter((number) => cases[number]?.[1])))
  const dropped = dropsOf(guarded.tap, counts)?.guard ?? 0
  assert.ok(dropped >= cases.filter(([, arrives]) => !arrives).length, `${dropped} were counted.`)
  assert.ok((dropsOf(guarded.tap, after)?.guard ?? 0) >= dropped, 'Rules that are made anew go on counting.')
})

test('what a limited guest sends and receives comes to its limits, and not beyond', { skip }, async (t) => {
  const room = await openRoom(t)
  const names = { vm: 'web1', nic: 'net0', network: 'lan', tap: 'kvt1', mac: '52:54:00:00:00:01' }
  const limits = { send: 2_000_000, receive: 1_000_000 }
  const wire = { ...names, address: undefined, forwards: [], antiSpoof: false, isolated: false, limits }
  const input = ruleSet(lan, [wire], { hasGuards: false })
  await runCommand(['ip', 'netns', 'exec', room.host, 'nft', '-f', '-'], { timeoutMs, input })
  for (const [index, guest] of room.guests.entries())
    await runCommand(['ip', '-n', guest, 'address', 'add', `10.9.0.${index + 2}/24`, 'dev', 'eth0'], {
      timeoutMs,
    })
  const [limited = '', other = ''] = room.guests

  const sent = await streamed({ from: limited, to: other, address: '10.9.0.3' })
  const received = await streamed({ from: other, to: limited, address: '10.9.0.2' })

  for (const [{ bytes, seconds }, rate] of [
    [sent, limits.send],
    [received, limits.receive],
  ] as const) {
    // The kernel's bucket is full at first: what a second brings, and the burst.
    assert.ok(bytes < rate * (seconds + 1) * 1.1 + 200_000, `${bytes} bytes in ${seconds} s`)
    assert.ok(bytes > rate * seconds * 0.3, `${bytes} bytes in ${seconds} s`)
  }
})

/** Sends for some seconds, or takes what comes from one sender and prints how much that was, and in how many seconds. */
const stream = `
use strict; use IO::Socket::INET; use Time::HiRes 'time'; $| = 1; $SIG{ALRM} = sub { exit 0 };
if ($ARGV[0] eq 'send') { my $s = IO::Socket::INET->new(PeerAddr => $ARGV[1], PeerPort => 5000) or die "$@";
  alarm 3; while (1) { syswrite($s, 'x' x 65536) or exit 0 } }
my $l = IO::Socket::INET->new(LocalPort => 5000, Listen => 1, ReuseAddr => 1) or die "$@"; print "ready\n";
my $s = $l->accept; my ($n, $t) = (0, time); while (my $r = sysread($s, my $b, 1 << 20)) { $n += $r } print "$n ", time - $t, "\n"
`

async function streamed({
  from,
  to,
  address,
}: {
  readonly from: string
  readonly to: string
  readonly address: string
}) {
  const listener = spawn('ip', ['netns', 'exec', to, 'perl', '-e', stream, 'take'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 4 * timeoutMs,
  })
  await new Promise((resolve) => listener.stdout.once('readable', resolve))
  await runCommand(['ip', 'netns', 'exec', from, 'perl', '-e', stream, 'send', address], {
    timeoutMs: 3 * timeoutMs,
  })
  const [bytes = 0, seconds = 0] = (await text(listener.stdout))
    .replace('ready', '')
    .trim()
    .split(' ')
    .map(Number)
  return { bytes, seconds }
}

interface Room {
  readonly host: string
  readonly guests: readonly string[]
}

/** A bridge with two guests. */
async function openRoom(t: { after(work: () => Promise<void>): void }): Promise<Room> {
  const tag = `kvg${randomBytes(3).toString('hex')}`
  const room = { host: `${tag}h`, guests: [`${tag}1`, `${tag}2`] }
  const ip = (...words: readonly string[]) => runCommand(['ip', ...words], { timeoutMs })
  t.after(async () => {
    for (const name of [...room.guests, room.host]) await ip('netns', 'delete', name).catch(() => {})
  })
  for (const name of [room.host, ...room.guests]) await ip('netns', 'add', name)
  // Where br_netfilter is loaded it looks at frames too, and cuts off what numbers them here.
  for (const family of ['iptables', 'ip6tables'])
    await ip('netns', 'exec', room.host, 'sysctl', '-qw', `net.bridge.bridge-nf-call-${family}=0`).catch(
      () => {},
    )
  await ip('-n', room.host, 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0')
  await ip('-n', room.host, 'link', 'set', 'br0', 'up')
  for (const [index, guest] of room.guests.entries()) {
    const tap = `kvt${index + 1}`
    await ip('-n', room.host, 'link', 'add', tap, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', guest)
    await ip('-n', room.host, 'link', 'set', tap, 'master', 'br0', 'up')
    await ip('-n', guest, 'link', 'set', 'eth0', 'up')
  }
  return room
}

/** The numbers of the frames that one guest sends and the other sees. */
async function arrived({ guests }: Room, sent: readonly string[]): Promise<readonly number[]> {
  const [from = '', to = ''] = guests
  const listener = spawn('ip', ['netns', 'exec', to, 'perl', '-e', frames, 'receive'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => listener.stdout.once('readable', resolve))
  const input = `${sent.join('\n')}\n`
  await runCommand(['ip', 'netns', 'exec', from, 'perl', '-e', frames, 'send'], { timeoutMs, input })
  const seen = await text(listener.stdout)
  return sent.flatMap((_, number) => (new RegExp(`${tagOf(number)}$`, 'm').test(seen) ? [number] : []))
}

function tagOf(number: number): string {
  return `6b7661${number.toString(16).padStart(2, '0')}`
}

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
