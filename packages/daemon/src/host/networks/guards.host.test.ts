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
import type { Wire } from '../../model/network/wires.ts'
import { guestFrames as cases } from './testing/guest-frames.ts'

const skip = needs('root')
const timeoutMs = 10_000
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

/** Sends each line of hexadecimal digits as a frame (a drop at egress is told as ENOBUFS), or prints those that come for two seconds (packet(7)). */
const frames = `
use strict; use Socket; $| = 1;
socket(my $s, 17, 3, unpack('S', pack('n', 3))) or die; my $r = pack('Z16 x24', 'eth0');
ioctl($s, 0x8933, $r) or die; my (undef, $i) = unpack('Z16 i', $r);
my $a = pack('S n i x12', 17, 3, $i); bind($s, $a) or die;
if ($ARGV[0] eq 'send') { while (<STDIN>) { chomp; send($s, pack('H*', $_), 0, $a) or $!{ENOBUFS} or die "$!" } exit }
print "ready\\n"; my $end = time + 2;
while (time < $end) { my $w = ''; vec($w, fileno $s, 1) = 1; next unless select($w, undef, undef, 0.2);
  recv($s, my $f, 2048, 0); print unpack('H*', $f), "\\n" }
`

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

test('the same of a guest on a macvtap, whose LAN says who has which address', { skip }, async (t) => {
  const room = await openMacvtapRoom(t)
  const network: NetworkSpec = { ...lan, mode: 'macvtap', bridge: 'up0', ipv4: undefined, ipv6: undefined }
  const names = { vm: 'web1', nic: 'net0', network: 'lan', tap: 'eth0', mac: '52:54:00:00:00:01' }
  const wire = { ...names, forwards: [], isolated: false, antiSpoof: true }
  const sent = cases.map(([, , frame], number) => frame.padEnd(120, '0') + tagOf(number))
  const argv = ['ip', 'netns', 'exec', room.host, 'nft']
  const put = async (address: string | undefined, counts?: ReturnType<typeof ruleCounts>) => {
    const had = counts === undefined ? {} : { counts }
    const input = ruleSet(network, [{ ...wire, address }], { hasGuards: counts !== undefined, ...had })
    await runCommand([...argv, '-f', '-'], { timeoutMs, input })
  }
  const read = async () =>
    ruleCounts(
      (await runCommand([...argv, 'list', 'table', 'netdev', tableName(lan.id)], { timeoutMs })).stdout,
    )
  const namesOf = (numbers: readonly number[]) => numbers.map((number) => cases[number]?.[0])
  const all = cases.map((_, number) => number)

  const without = await arrived(room, sent)
  await put('10.9.0.2')
  const within = await arrived(room, sent)
  const counts = await read()
  await put(undefined, counts)
  const anywhere = await arrived(room, sent)

  assert.deepEqual(namesOf(without), namesOf(all), 'Without guards, all of it arrives.')
  assert.deepEqual(namesOf(within), namesOf(all.filter((number) => cases[number]?.[1])))
  const dropped = dropsOf(wire.tap, counts)?.guard ?? 0
  assert.ok(dropped >= cases.filter(([, arrives]) => !arrives).length, `${dropped} were counted.`)
  assert.ok(
    (dropsOf(wire.tap, await read())?.guard ?? 0) > dropped,
    'Rules that are made anew go on counting.',
  )
  // Which address of IPv4 is its own, nobody says: all else holds.
  const free = /^(ARP for (another|the)|IPv4 from (another|outside))/
  const expected = all.filter((number) => cases[number]?.[1] || free.test(cases[number]?.[0] ?? ''))
  assert.deepEqual(namesOf(anywhere), namesOf(expected))
})

test('the same of a guest on a bridge of somebody else; with a trunk, its VLANs arrive too', {
  skip,
}, async (t) => {
  const room = await openRoom(t)
  const network: NetworkSpec = { ...lan, mode: 'bridge', ipv4: undefined, ipv6: undefined }
  const names = { vm: 'web1', nic: 'net0', network: 'lan', tap: 'kvt1', mac: '52:54:00:00:00:01' }
  const wire = { ...names, address: '10.9.0.2', forwards: [], isolated: false, antiSpoof: true }
  const argv = ['ip', 'netns', 'exec', room.host, 'nft', '-f', '-']
  const sent = cases.map(([, , frame], number) => frame.padEnd(120, '0') + tagOf(number))
  const within = async (more: Partial<Wire>, hasGuards = true) => {
    await runCommand(argv, { timeoutMs, input: ruleSet(network, [{ ...wire, ...more }], { hasGuards }) })
    return (await arrived(room, sent)).map((number) => cases[number]?.[0])
  }

  const own = cases.filter(([, arrives]) => arrives).map(([what]) => what)
  assert.deepEqual(await within({}, false), own)
  const tagged = await within({ trunk: [5] })
  assert.deepEqual(
    tagged.filter((what) => what !== 'a frame of a VLAN'),
    own,
  )
  assert.ok(tagged.includes('a frame of a VLAN'))
  const anywhere = await within({ address: undefined })
  assert.ok(anywhere.includes('IPv4 from another address'), 'Which one is its own, nobody says.')
  assert.ok(!anywhere.includes('a frame with another MAC address'))
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

/** A macvtap on a link to another host; the guest's end of it is what it sends into the macvtap. */
async function openMacvtapRoom(t: { after(work: () => Promise<void>): void }): Promise<Room> {
  const tag = `kvg${randomBytes(3).toString('hex')}`
  const [host, far] = [`${tag}h`, `${tag}1`]
  const ip = (words: string) => runCommand(['ip', ...words.split(' ')], { timeoutMs })
  t.after(async () => {
    for (const name of [far, host]) await ip(`netns delete ${name}`).catch(() => {})
  })
  for (const name of [host, far]) await ip(`netns add ${name}`)
  await ip(`-n ${host} link add up0 up type veth peer name eth0 netns ${far}`)
  await ip(`-n ${far} link set eth0 up`)
  await ip(`-n ${host} link add link up0 name eth0 up address 52:54:00:00:00:01 type macvtap mode bridge`)
  return { host, guests: [host, far] }
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
