/** The verbs of networks. */
import type { Lease, Network } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import type { Context } from '../context.ts'
import { localTime } from '../output/time.ts'
import { UsageError } from '../usage-error.ts'
import { newNetworkOf } from './new-network.ts'
import { sriovLines } from './pools.ts'

export const listNetworks: Action = async ({ client, output, signal }) => {
  const networks = await client.call(routes.listNetworks, { signal })
  await output.rows<Network>(
    networks,
    [
      { title: 'NAME', show: ({ name }) => name },
      { title: 'MODE', show: ({ mode }) => mode },
      { title: 'STATE', show: ({ state }) => state },
      { title: 'BRIDGE', show: ({ bridge, link }) => bridge ?? link },
      { title: 'IPV4', show: ({ ipv4 }) => ipv4?.subnet },
      { title: 'IPV6', show: ({ ipv6 }) => ipv6?.subnet },
      { title: 'DOMAIN', show: ({ domain }) => domain },
      { title: 'AUTOSTART', show: ({ autostart }) => (autostart ? 'on' : 'off') },
    ],
    'There are no networks.',
  )
  return undefined
}

export const showNetwork: Action = async (context) => {
  const { client, output, signal } = context
  const network = await client.call(routes.getNetwork, { params: byNetwork(context), signal })
  await output.properties(network, () => ({
    Name: network.name,
    Mode: network.mode,
    State: `${network.state}: ${network.reason}`,
    Since: localTime(network.since),
    Autostart: network.autostart ? 'on' : 'off',
    ...bridgeWords(network),
    ...linkWords(network),
    IPv4: ipv4Words(network),
    IPv6: ipv6Words(network),
    Domain: network.domain,
    Reservations: network.reservations.map(({ mac, address, ipv6, name }) =>
      [mac, address, ipv6, name].filter((word) => word !== undefined).join(' '),
    ),
    Records: network.records.map(({ name, type, value }) => `${name} ${type} ${value}`),
    Rules: [
      ...(network.table === undefined ? [] : [`table inet ${network.table} (ways and forwards)`]),
      ...(network.guardTable === undefined ? [] : [`table bridge ${network.guardTable} (guards of NICs)`]),
    ],
    dnsmasq: network.dnsmasqPid === undefined ? 'none' : `pid ${network.dnsmasqPid}`,
    Findings: network.findings.flatMap(findingLines),
    'Put right': network.repairs.map(({ at, detail }) => `${localTime(at)}  ${detail}`),
    Created: localTime(network.createdAt),
  }))
  return undefined
}

export const createNetwork: Action = async (context) => {
  const network = await context.client.call(routes.createNetwork, {
    body: newNetworkOf(context),
    idempotencyKey: crypto.randomUUID(),
    signal: context.signal,
  })
  const subnets = [network.ipv4?.subnet, network.ipv6?.subnet].filter((subnet) => subnet !== undefined)
  await say(
    context,
    network,
    `Network ${network.name} is created${subnets.length > 0 ? ` with ${subnets.join(' and ')}` : ''} ${onWords(network)}.`,
  )
  if (network.reach !== undefined && context.output.format === 'table') context.output.message(network.reach)
  await tellFindings(context, network)
  return undefined
}

export const startNetwork: Action = async (context) => {
  const params = byNetwork(context)
  const network = await context.client.call(routes.startNetwork, { params, signal: context.signal })
  await say(context, network, `Network ${network.name} is ${network.state}.`)
  await tellFindings(context, network)
  return undefined
}

export const stopNetwork: Action = async (context) => {
  const params = byNetwork(context)
  const network = await context.client.call(routes.stopNetwork, { params, signal: context.signal })
  await say(context, network, `Network ${network.name} is stopped.`)
  return undefined
}

export const setAutostart: Action = async (context) => {
  const word = context.argument('ON')
  if (word !== 'on' && word !== 'off')
    throw new UsageError(`Autostart cannot be ${JSON.stringify(word)}.`, 'Write on or off.')
  const network = await context.client.call(routes.changeNetwork, {
    params: byNetwork(context),
    body: { autostart: word === 'on' },
    signal: context.signal,
  })
  await say(
    context,
    network,
    `Network ${network.name} is ${word === 'on' ? '' : 'not '}started when the host boots.`,
  )
  return undefined
}

export const listLeases: Action = async (context) => {
  const { client, output, signal } = context
  const params = byNetwork(context)
  const leases = await client.call(routes.listLeases, { params, signal })
  await output.rows<Lease>(
    leases,
    [
      { title: 'ADDRESS', show: ({ address }) => address },
      { title: 'MAC', show: ({ mac }) => mac },
      { title: 'NAME', show: ({ name }) => name },
      {
        title: 'EXPIRES',
        show: ({ expiresAt }) => (expiresAt === undefined ? 'never' : localTime(expiresAt)),
      },
      { title: 'CLIENT', show: ({ client: id }) => id },
    ],
    `Network ${params.network} has given no addresses.`,
  )
  return undefined
}

export const deleteNetwork: Action = async (context) => {
  const params = byNetwork(context)
  if (!(await confirm(context, `Delete network ${params.network}? Its guests lose their connection.`)))
    return 1
  await context.client.call(routes.deleteNetwork, { params, signal: context.signal })
  context.output.message(`Network ${params.network} is deleted.`)
  return undefined
}

function findingLines({ detail, fix = [] }: Network['findings'][number]): readonly string[] {
  return [detail, ...fix.map((command) => `  to let it through: ${command}`)]
}

/** What is in the way of a network that has just been made or started. */
async function tellFindings(context: Context, { name }: Network): Promise<void> {
  const { client, output, signal } = context
  if (output.format !== 'table') return
  const { findings } = await client.call(routes.getNetwork, { params: { network: name }, signal })
  for (const line of findings.flatMap(findingLines)) output.message(line)
}

/** Where its packets leave the host, and its VLANs. */
function bridgeWords({ uplink, uplinks, vlanAware, vlan, trunk }: Network): Record<string, string> {
  const native = vlan === undefined ? '' : `native ${vlan}`
  const ports = trunk ? ['trunk', trunk.join(', '), native].join(' ').trim() : `VLAN ${vlan ?? 1}`
  const links = uplinks.length > 0 ? uplinks.join(', ') : 'none'
  return {
    Uplink:
      uplink === undefined ? links : `${uplink}${uplinks.includes(uplink) ? '' : ' (not on the bridge)'}`,
    ...(vlanAware ? { VLANs: `${ports} for NICs that name none` } : {}),
  }
}

function byNetwork(context: Context): { network: string } {
  return { network: context.argument('NETWORK') }
}

async function say(context: Context, network: Network, sentence: string): Promise<void> {
  if (context.output.format === 'table') context.output.message(sentence)
  else await context.output.result(network, () => '')
}

function ipv4Words({ ipv4 }: Network): string {
  if (!ipv4) return 'none'
  const dhcp = ipv4.dhcp ? `DHCP ${ipv4.dhcp.first} to ${ipv4.dhcp.last}` : 'no DHCP'
  return `${ipv4.subnet}, gateway ${ipv4.gateway}, ${dhcp}`
}

function ipv6Words({ ipv6 }: Network): string {
  return ipv6 ? `${ipv6.subnet}, gateway ${ipv6.gateway}, SLAAC${ipv6.dhcp ? ' and DHCPv6' : ''}` : 'none'
}

/** What its guests are on. */
function linkWords({ bridge, mac, mtu, sriov, link, macvtapMode, reach }: Network) {
  if (sriov) return sriovLines(sriov)
  if (link !== undefined) return { Link: `${link} (macvtap ${macvtapMode}), MTU ${mtu}`, Reach: reach }
  return { Bridge: `${bridge} (${mac ?? 'somebody else’s'}), MTU ${mtu}` }
}

function onWords({ bridge, sriov, link }: Network): string {
  if (link !== undefined) return `on link ${link}`
  return sriov ? `on virtual functions of ${sriov.pfs.join(', ')}` : `on bridge ${bridge}`
}
