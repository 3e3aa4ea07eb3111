/**
 * The bridge of a network that is its own. It is known as ours by its MAC address, which it has from its first moment (model/network/link-names.ts); a
 * link of its name that is none, or has another, is somebody else's and stays as it is.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import { routesLoopback } from '../../model/network/forward-rules.ts'
import { bridgeGroup, bridgeMac } from '../../model/network/link-names.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import type { Wire } from '../../model/network/wires.ts'
import { readLinks, type ShownLink, strayTaps } from './links.ts'
import { runIpBatch } from './network-commands.ts'

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

/** Whether a link is the bridge of a network, by its mark. */
export function isOurs({ address, linkinfo, group }: ShownLink, { id, uplink }: NetworkSpec): boolean {
  const isMarked = uplink ? group === bridgeGroup(id) : address === bridgeMac(id)
  return linkinfo?.info_kind === 'bridge' && isMarked
}

/** All links are listed: asked for one that is missing, ip(8) fails as it does for other reasons. */
async function lookAtBridge({ bridge }: NetworkSpec): Promise<ShownLink | undefined> {
  return (await readLinks()).find(({ ifname }) => ifname === bridge)
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
