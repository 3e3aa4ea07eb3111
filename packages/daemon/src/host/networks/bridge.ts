/**
 * The bridge of a network. It is known as ours by its MAC address, which it has from its first moment (model/network/link-names.ts); a
 * link of its name that is none, or has another, is somebody else's and stays as it is.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import { z } from 'zod'
import { routesLoopback } from '../../model/network/forward-rules.ts'
import { bridgedOf } from '../../model/network/host-bridges.ts'
import { bridgeMac } from '../../model/network/link-names.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import type { Wire } from '../../model/network/wires.ts'
import { askIp, runIpBatch } from './network-commands.ts'

const shown = z.object({
  ifname: z.string().optional(),
  address: z.string().optional(),
  mtu: z.number().optional(),
  master: z.string().optional(),
  flags: z.array(z.string()).default([]),
  linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
  addr_info: z
    .array(z.object({ local: z.string().optional(), prefixlen: z.number().optional() }))
    .default([]),
})

type Shown = z.output<typeof shown>

/** Whether the bridge is there. `network-refused` when a link of its name is somebody else's. */
export async function isBridgeThere(network: NetworkSpec): Promise<boolean> {
  const found = await lookAtBridge(network)
  if (!found) return false
  if (isOurs(found, network)) return true
  throw new KvasirError(
    'network-refused',
    `The link ${network.bridge} is there and was not made for network ${network.name}, so the network is not started and the link stays.`,
    { details: { network: network.name, link: network.bridge } },
  )
}

/** `network-refused` where the bridge that somebody else made is not there, is none, is down, or has another MTU than guests were told. */
export async function requireHostBridge({ bridge, name, mtu }: NetworkSpec): Promise<void> {
  const links = z.array(shown).parse(await askIp(['-details', 'link', 'show']))
  const found = bridgedOf(
    bridge,
    links.map(({ ifname = '', address, mtu: own = 0, master, linkinfo }) => ({
      name: ifname,
      kind: linkinfo?.info_kind,
      mac: address,
      mtu: own,
      bridge: master,
    })),
  )
  const isUp = links.some(({ ifname, flags }) => ifname === bridge && flags.includes('UP'))
  const why =
    typeof found === 'string'
      ? found
      : !isUp
        ? `the bridge ${bridge} is down; ip link set ${bridge} up brings it up`
        : found.mtu > mtu
          ? `the bridge ${bridge} has an MTU of ${found.mtu} now and the network one of ${mtu}; stop and start the network`
          : undefined
  if (why !== undefined)
    throw new KvasirError(
      'network-refused',
      `Network ${name} has no bridge that guests can be put on: ${why}.`,
      {
        details: { network: name, link: bridge },
      },
    )
}

/** What is amiss with a bridge that somebody else made, and with our ports on it. */
export async function inspectHostBridge(
  network: NetworkSpec,
  wires: readonly Wire[],
): Promise<readonly NetworkFinding[]> {
  try {
    await requireHostBridge(network)
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'network-refused')
      return [{ thing: 'bridge', detail: error.message }]
    throw error
  }
  return (await strayTaps(network.bridge, wires)).map((tap) => ({
    thing: 'bridge',
    detail: `The tap ${tap} is not on the bridge ${network.bridge}.`,
  }))
}

/** Makes the bridge, without addresses and not up. */
export async function makeBridge(network: NetworkSpec): Promise<void> {
  const { bridge, id, mtu, name } = network
  const purpose = `the bridge of network ${name} is not made`
  await runIpBatch(
    [
      `link add name ${bridge} address ${bridgeMac(id)} mtu ${mtu} type bridge stp_state 0 forward_delay 0`,
      `link set dev ${bridge} alias "kvasir network ${name}"`,
    ],
    purpose,
  )
}

/** Makes taps ports of the bridge; one that is not there, or not yet, is left out. */
export async function plugTaps({ bridge }: NetworkSpec, wires: readonly Wire[]): Promise<void> {
  for (const tap of await strayTaps(bridge, wires))
    await runIpBatch([`link set dev ${tap} master ${bridge}`], `the tap ${tap} is on no bridge`).catch(
      (error: unknown) => {
        if (!(error instanceof KvasirError && /Cannot find device/.test(error.message))) throw error
      },
    )
}

/** The taps that are there, and not ports of the bridge. */
async function strayTaps(bridge: string, wires: readonly Wire[]): Promise<readonly string[]> {
  if (wires.length === 0) return []
  const taps = new Set(wires.map(({ tap }) => tap))
  const links = z.array(shown).parse(await askIp(['link', 'show']))
  return links.flatMap(({ ifname, master }) =>
    ifname !== undefined && taps.has(ifname) && master !== bridge ? [ifname] : [],
  )
}

/** Gives the bridge its addresses and brings it up. Safe to repeat. */
export async function dressBridge(network: NetworkSpec, wires: readonly Wire[]): Promise<void> {
  const { bridge, name, ipv6 } = network
  await setIpv6(bridge, ipv6 !== undefined)
  await routeLoopback(network, wires)
  await runIpBatch(
    [
      // Nobody else has an address that was chosen here, so none is waited for.
      ...addressesOf(network).map((address) => {
        const nodad = address.includes(':') ? ' nodad' : ''
        return `address replace ${address} dev ${bridge}${nodad}`
      }),
      `link set dev ${bridge} up`,
    ],
    `the bridge of network ${name} has not its addresses`,
  )
}

/** Lets packets of the host's loopback leave by the bridge where a forward needs it, and not elsewhere. */
export async function routeLoopback({ bridge }: NetworkSpec, wires: readonly Wire[]): Promise<void> {
  await writeFile(loopbackSwitch(bridge), routesLoopback(wires) ? '1' : '0')
}

/** Removes the bridge, if it is ours; its ports stay, without it. */
export async function removeBridge(network: NetworkSpec): Promise<void> {
  const found = await lookAtBridge(network)
  if (!found || !isOurs(found, network)) return
  await runIpBatch([`link delete dev ${network.bridge}`], `the bridge of network ${network.name} stays`)
}

/** What of the bridge is not as it was made. */
export async function inspectBridge(
  network: NetworkSpec,
  wires: readonly Wire[],
): Promise<readonly NetworkFinding[]> {
  const found = await lookAtBridge(network)
  if (!found) return [{ thing: 'bridge', detail: `The bridge ${network.bridge} is gone.` }]
  if (!isOurs(found, network))
    return [{ thing: 'bridge', detail: `The link ${network.bridge} is another one than was made.` }]
  const has = new Set(found.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`))
  const lost = addressesOf(network).filter((address) => !has.has(address))
  return [
    ...(found.flags.includes('UP')
      ? []
      : [{ thing: 'bridge' as const, detail: `The bridge ${network.bridge} is down.` }]),
    ...lost.map((address) => ({
      thing: 'addresses' as const,
      detail: `The bridge ${network.bridge} has lost its address ${address}.`,
    })),
    ...(await strayTaps(network.bridge, wires)).map((tap) => ({
      thing: 'bridge' as const,
      detail: `The tap ${tap} is not on the bridge ${network.bridge}.`,
    })),
    ...((await readFile(loopbackSwitch(network.bridge), 'utf8')).trim() ===
    (routesLoopback(wires) ? '1' : '0')
      ? []
      : [
          {
            thing: 'forwarding' as const,
            detail: `Somebody has changed whether the bridge ${network.bridge} routes the loopback.`,
          },
        ]),
  ]
}

/** Whether packets of the host's loopback may leave by the bridge, for forwards from there (model/network/forward-rules.ts). */
function loopbackSwitch(bridge: string): string {
  return `/proc/sys/net/ipv4/conf/${bridge}/route_localnet`
}

function isOurs({ address, linkinfo }: Shown, { id }: NetworkSpec): boolean {
  return linkinfo?.info_kind === 'bridge' && address === bridgeMac(id)
}

/** All links are listed: asked for one that is missing, ip(8) fails as it does for other reasons. */
async function lookAtBridge({ bridge }: NetworkSpec): Promise<Shown | undefined> {
  const links = z.array(shown).parse(await askIp(['-details', 'address', 'show']))
  return links.find(({ ifname }) => ifname === bridge)
}

function addressesOf({ ipv4, ipv6 }: NetworkSpec): readonly string[] {
  return [ipv4, ipv6].flatMap((family) =>
    family ? [`${family.gateway}/${family.subnet.split('/')[1] ?? ''}`] : [],
  )
}

/** The host takes no addresses from guests that play the router; without IPv6, it has none there at all. */
async function setIpv6(bridge: string, isOn: boolean): Promise<void> {
  const folder = `/proc/sys/net/ipv6/conf/${bridge}`
  const settings = isOn
    ? { disable_ipv6: '0', accept_ra: '0', autoconf: '0', accept_dad: '0' }
    : { disable_ipv6: '1' }
  for (const [setting, value] of Object.entries(settings))
    await writeFile(`${folder}/${setting}`, value).catch((error: unknown) => {
      // A kernel without IPv6 has no such files, and nothing to be turned off.
      if (isOn || !(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    })
}
