/**
 * The configuration of the dnsmasq of one network (dnsmasq(8)), reservations and names of guests included.
 *
 * It reads nothing else of the host than resolv.conf, and of an isolated network not even that: DNS would be a way out. It serves the
 * bridge alone and gives up root as soon as its sockets are open. From then on it can read no file below a folder that is root's alone,
 * so everything stands in this one file, and what changes takes a new process; leases outlive it.
 */
import type { Reservation } from '@kvasir/contract'
import { wordsOfOthers } from './dns-label.ts'
import { recordLines } from './dns-records.ts'
import { derivedAddresses } from './guard-rules.ts'
import type { NetworkSpec } from './network-record.ts'

const leaseTime = '1h'
const mostLeases = 65_536
/** Where DHCPv6 gives addresses, within the /64. */
const dhcp6Range = { first: '1:0', last: '1:ffff' } as const

/** A NIC of a VM, as DHCP and DNS are to know it. */
export interface GuestNic extends Reservation {
  /** It may send with no addresses but those that it is given here, and those that follow from its MAC address. */
  readonly isGuarded?: boolean
  /** A smaller MTU than its network's. */
  readonly mtu?: number
}

/** Where it finds and leaves its files, and who it is. */
export interface DnsmasqPlaces {
  readonly leases: string
  readonly pid: string
  readonly user: string
  readonly group: string
}

/** The text of its configuration file. `guests`: the NICs of VMs, besides what the network reserves itself. */
export function dnsmasqConf(
  network: NetworkSpec,
  { guests, ...places }: DnsmasqPlaces & { readonly guests: readonly GuestNic[] },
): string {
  const { bridge, domain, mode, ipv4, ipv6, records = [] } = network
  const lines = [
    `# Network ${network.name} of Kvasir; made anew whenever it is started.`,
    `pid-file=${quoted(places.pid)}`,
    `user=${places.user}`,
    `group=${places.group}`,
    `interface=${bridge}`,
    'except-interface=lo',
    'bind-dynamic',
    'no-hosts',
    'domain-needed',
    'bogus-priv',
    'localise-queries',
    `domain=${domain}`,
    `local=/${domain}/`,
    'expand-hosts',
    ...(mode === 'isolated' ? ['no-resolv'] : []),
    ...recordLines(records, domain),
    ...(ipv4?.dhcp || ipv6 ? [...dhcpLines(network, places), ...hostLines(network, guests)] : []),
  ]
  return `${lines.join('\n')}\n`
}

/**
 * What the network reserves stands before what a VM is called or has, and each NIC has one line. Where nothing is reserved, DHCPv6 gives a
 * NIC that may have no other the address that SLAAC does.
 */
function hostLines(network: NetworkSpec, guests: readonly GuestNic[]): readonly string[] {
  const { domain, reservations, ipv6 } = network
  const nics = new Map<string, GuestNic>()
  for (const nic of [...reservations, ...guests]) nics.set(nic.mac, { ...nic, ...nics.get(nic.mac) })
  const smaller = smallerMtus(network, guests)
  const hosts = [...nics.values()].map(({ mac, address, ipv6: own6, name, isGuarded, mtu }) => {
    // Alone, a name such as `ignore`, `infinite` or `45m` would be read as what is done with a lease, or as its length.
    const fullName = name === undefined ? undefined : `${name}.${domain}`
    const derived = isGuarded ? derivedAddresses(mac, network)[1] : undefined
    const address6 = ipv6?.dhcp ? (own6 ?? derived) : undefined
    const tag = mtu !== undefined && smaller.includes(mtu) ? `set:mtu${mtu}` : undefined
    const words = [mac, tag, address, address6 && `[${address6}]`, fullName]
    return `dhcp-host=${words.filter((word) => word !== undefined).join(',')}`
  })
  // An option with a tag that a guest has stands before the one without.
  return [...hosts, ...smaller.map((mtu) => `dhcp-option-force=tag:mtu${mtu},option:mtu,${mtu}`)]
}

/** MTUs of NICs that DHCP would tell another one: where it tells one at all. */
function smallerMtus({ mtu: usual, ipv4 }: NetworkSpec, guests: readonly GuestNic[]): readonly number[] {
  if (!ipv4?.dhcp || usual === 1500) return []
  return [...new Set(guests.flatMap(({ mtu = usual }) => (mtu === usual ? [] : [mtu])))]
}

function dhcpLines({ mode, ipv4, ipv6, mtu }: NetworkSpec, places: DnsmasqPlaces): readonly string[] {
  return [
    `dhcp-leasefile=${quoted(places.leases)}`,
    `dhcp-lease-max=${mostLeases}`,
    // What a guest calls itself is DNS for all others, and these are names that they look for.
    ...wordsOfOthers.map((word) => `dhcp-name-match=set:notaname,${word}`),
    'dhcp-ignore-names=tag:notaname',
    'dhcp-authoritative',
    'dhcp-no-override',
    'no-ping', // It would hold each first lease up for three seconds; guests look for others with their address themselves.
    ...(ipv4?.dhcp ? [`dhcp-range=${ipv4.dhcp.first},${ipv4.dhcp.last},${leaseTime}`] : []),
    ...(ipv4?.dhcp && mode === 'isolated' ? ['dhcp-option=option:router'] : []), // Without a value: there is none.
    ...(ipv4?.dhcp && mtu !== 1500 ? [`dhcp-option-force=option:mtu,${mtu}`] : []),
    ...(ipv6 ? ipv6Lines(ipv6, mode === 'isolated') : []),
  ]
}

function ipv6Lines(
  { subnet, dhcp }: NonNullable<NetworkSpec['ipv6']>,
  isIsolated: boolean,
): readonly string[] {
  const base = subnet.split('/')[0] ?? ''
  const { first, last } = dhcp6Range
  const range = dhcp
    ? `dhcp-range=${base}${first},${base}${last},slaac,64,${leaseTime}`
    : `dhcp-range=${base},slaac,64,${leaseTime}`
  // A router lifetime of zero: there is a prefix, and no way out.
  return ['enable-ra', range, ...(isIsolated ? ['ra-param=*,60,0'] : [])]
}

/** A path may hold what the file's own syntax means something by. */
function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `"${path.replaceAll(/["\\]/g, String.raw`\$&`)}"`
}
