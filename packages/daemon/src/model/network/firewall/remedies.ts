/** What whoever runs a firewall has to tell it, so that it lets the packets of a network pass. */
import type { NetworkSpec } from '../network-record.ts'
import type { Packet } from './match-packet.ts'
import type { Chain, Ruleset } from './ruleset.ts'
import type { Drop } from './walk-chains.ts'

/** Something that drops, what it drops, and on which way through the network's bridge. */
export interface Found {
  readonly drop: Drop
  readonly words: Set<string>
  readonly ends: Set<'from' | 'to'>
}

type Owner = 'firewalld' | 'iptables'

/** The chains that iptables(8) makes, which nobody else names so. */
const chainsOfIptables: ReadonlySet<string> = new Set([
  'PREROUTING',
  'INPUT',
  'FORWARD',
  'OUTPUT',
  'POSTROUTING',
])
const tablesOfIptables: ReadonlySet<string> = new Set(['filter', 'mangle', 'raw', 'security'])

/** Whether a packet comes by the bridge, or leaves by it; among guests it does both. */
export function endOf({ iifname, layer }: Packet, { bridge }: NetworkSpec): 'from' | 'to' {
  return iifname === bridge || layer === 'bridge' ? 'from' : 'to'
}

/** Who is known to make such chains. */
export function ownerOf({ family, table, name, isLegacy }: Chain): Owner | undefined {
  if (isLegacy) return 'iptables'
  if (table.startsWith('firewalld')) return 'firewalld'
  const isIp = family === 'ip' || family === 'ip6'
  return isIp && chainsOfIptables.has(name) && tablesOfIptables.has(table) ? 'iptables' : undefined
}

/** The commands after which the packets pass. They last until that firewall is loaded anew, unless they become part of its configuration. */
export function remedyOf(found: Found, network: NetworkSpec, ruleset: Ruleset): readonly string[] {
  const { base } = found.drop
  const { bridge } = network
  const owner = ownerOf(base)
  if (owner === 'firewalld') return ofFirewalld(network)
  const own = ruleset.chains.filter((chain) => isOfTable(chain, base))
  if (owner === 'iptables' && own.some(({ name }) => /^ufw6?-/.test(name))) return ofUfw(base, bridge)
  const insert = inserterOf(base, own, ruleset)
  if (base.family === 'bridge') return [`${insert} meta ibrname "${bridge}" accept`]
  const words = owner === 'iptables' ? ofIptables : ofNftables
  return [
    ...(found.ends.has('from') ? from(base, network, words) : []),
    ...(found.ends.has('to') ? to(base, network, words) : []),
  ].map((rule) => `${insert} ${rule}`)
}

/** How a rule says what it lets pass. */
interface Words {
  readonly cameBy: (link: string) => string
  readonly leavesBy: (link: string) => string
  readonly comesFrom: (subnet: string) => string
  readonly goesTo: (subnet: string) => string
}

const ofIptables: Words = {
  cameBy: (link) => `-i ${link} -j ACCEPT`,
  leavesBy: (link) => `-o ${link} -j ACCEPT`,
  comesFrom: (subnet) => `-s ${subnet} -j ACCEPT`,
  goesTo: (subnet) => `-d ${subnet} -j ACCEPT`,
}

const ofNftables: Words = {
  cameBy: (link) => `iifname "${link}" accept`,
  leavesBy: (link) => `oifname "${link}" accept`,
  comesFrom: (subnet) => `${protocolOf(subnet)} saddr ${subnet} accept`,
  goesTo: (subnet) => `${protocolOf(subnet)} daddr ${subnet} accept`,
}

/** Where packets leave, iptables(8) has no word for the link that they came by. */
function from({ hook, family }: Chain, network: NetworkSpec, words: Words): readonly string[] {
  if (hook !== 'postrouting') return [words.cameBy(network.bridge)]
  const subnets = subnetsOf(network, family)
  return subnets.length > 0 ? subnets.map(words.comesFrom) : [words.leavesBy(network.bridge)]
}

/** Before a packet is routed nothing says where it will leave, and one for a guest behind the host's address bears that address. */
function to({ hook, family }: Chain, network: NetworkSpec, words: Words): readonly string[] {
  if (hook !== 'prerouting') return [words.leavesBy(network.bridge)]
  return network.mode === 'routed' ? subnetsOf(network, family).map(words.goesTo) : []
}

function subnetsOf({ ipv4, ipv6 }: NetworkSpec, family: string): readonly string[] {
  return [
    ...(ipv4 && family !== 'ip6' ? [ipv4.subnet] : []),
    ...(ipv6 && family !== 'ip' ? [ipv6.subnet] : []),
  ]
}

function protocolOf(subnet: string): 'ip' | 'ip6' {
  return subnet.includes(':') ? 'ip6' : 'ip'
}

function ofUfw({ hook }: Chain, bridge: string): readonly string[] {
  if (hook === 'input') return [`ufw allow in on ${bridge}`]
  if (hook === 'output') return [`ufw allow out on ${bridge}`]
  return [`ufw route allow in on ${bridge}`, `ufw route allow out on ${bridge}`]
}

/**
 * What a zone with the target ACCEPT receives may go anywhere; what is to go to it from other zones needs a policy (firewalld.policies(5)),
 * which firewalld makes in its permanent configuration alone.
 */
function ofFirewalld({ bridge, mode }: NetworkSpec): readonly string[] {
  const name = bridge.replaceAll(/[^a-z0-9_-]/gi, '_') // The characters that a zone's name may have.
  if (mode !== 'routed')
    return [
      `firewall-cmd --zone=trusted --change-interface=${bridge}`,
      `firewall-cmd --permanent --zone=trusted --change-interface=${bridge}`,
    ]
  const permanent = 'firewall-cmd --permanent'
  const policy = `${name}-in` // No zone and no policy have the same name.
  return [
    `${permanent} --new-zone=${name}`,
    `${permanent} --zone=${name} --set-target=ACCEPT`,
    `${permanent} --zone=${name} --change-interface=${bridge}`,
    `${permanent} --new-policy=${policy}`,
    `${permanent} --policy=${policy} --set-target=ACCEPT`,
    `${permanent} --policy=${policy} --add-ingress-zone=ANY`,
    `${permanent} --policy=${policy} --add-egress-zone=${name}`,
    'firewall-cmd --reload',
  ]
}

/** The beginning of a command that puts a rule before those of a chain. */
function inserterOf(base: Chain, own: readonly Chain[], ruleset: Ruleset): string {
  const { family, table, name, isLegacy, hook } = base
  if (ownerOf(base) !== 'iptables') return `nft insert rule ${family} ${table} ${name}`
  const isDocker = table === 'filter' && hook === 'forward' && own.some((one) => one.name === 'DOCKER-USER')
  // Where there are tables of both kinds, nobody knows which one `iptables` is for.
  const isMixed = ruleset.chains.some((chain) => chain.isLegacy)
  const kind = isLegacy ? '-legacy' : isMixed ? '-nft' : ''
  const program = `${family === 'ip' ? 'iptables' : 'ip6tables'}${kind}`
  return `${program}${table === 'filter' ? '' : ` -t ${table}`} -I ${isDocker ? 'DOCKER-USER' : name}`
}

function isOfTable(chain: Chain, { family, table, isLegacy }: Chain): boolean {
  return chain.isLegacy === isLegacy && chain.family === family && chain.table === table
}
