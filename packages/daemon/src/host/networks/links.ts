/** Links of the host as ip(8) tells them, and taps that are not where they belong. */
import { KvasirError } from '@kvasir/contract'
import { z } from 'zod'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { mtuLines } from '../../model/network/nic-mtu.ts'
import { freshPortLines, vlansOf } from '../../model/network/port-vlans.ts'
import type { Wire } from '../../model/network/wires.ts'
import { askIp, runBridgeBatch, runIpBatch } from './network-commands.ts'

const shownAddress = z.object({
  family: z.enum(['inet', 'inet6']).catch('inet'),
  local: z.string().optional(),
  prefixlen: z.number().optional(),
  address: z.string().optional(),
  broadcast: z.string().optional(),
  scope: z.string().default('global'),
  label: z.string().optional(),
  metric: z.number().optional(),
  noprefixroute: z.boolean().optional(),
  mngtmpaddr: z.boolean().optional(),
  temporary: z.boolean().optional(),
  nodad: z.boolean().optional(),
  valid_life_time: z.number().optional(),
  preferred_life_time: z.number().optional(),
})

const shownLink = z.object({
  ifname: z.string().optional(),
  address: z.string().optional(),
  group: z.string().optional(),
  mtu: z.number().optional(),
  master: z.string().optional(),
  flags: z.array(z.string()).default([]),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z.object({ vlan_filtering: z.number().optional() }).optional().catch(undefined),
    })
    .optional(),
  addr_info: z.array(shownAddress).default([]),
})

export type ShownLink = z.output<typeof shownLink>

/** All links with their addresses. All are listed: asked for one that is missing, ip(8) fails as it does for other reasons. */
export async function readLinks(): Promise<readonly ShownLink[]> {
  return z.array(shownLink).parse(await askIp(['-details', 'address', 'show']))
}

/** The taps that are there, and not ports of the bridge. */
export async function strayTaps(bridge: string, wires: readonly Wire[]): Promise<readonly string[]> {
  return wires.length === 0 ? [] : straysOf(bridge, wires, await shownLinks())
}

async function shownLinks(): Promise<readonly ShownLink[]> {
  return z.array(shownLink).parse(await askIp(['link', 'show']))
}

function straysOf(bridge: string, wires: readonly Wire[], links: readonly ShownLink[]): readonly string[] {
  const taps = new Set(wires.map(({ tap }) => tap))
  return links.flatMap(({ ifname, master }) =>
    ifname !== undefined && taps.has(ifname) && master !== bridge ? [ifname] : [],
  )
}

/** Makes taps ports of the bridge, with their VLANs before a frame passes; one that is not there, or not yet, is left out. */
export async function plugTaps(network: NetworkSpec, wires: readonly Wire[]): Promise<void> {
  if (wires.length === 0) return
  const links = await shownLinks()
  const bridgeMtu = links.find(({ ifname }) => ifname === network.bridge)?.mtu
  for (const tap of straysOf(network.bridge, wires, links)) {
    const wire = wires.find((one) => one.tap === tap)
    const vlans = wire && vlansOf(network, wire)
    const lines = [
      ...(wire ? mtuLines(network, wire, bridgeMtu) : []),
      `link set dev ${tap} master ${network.bridge}`,
    ]
    await plugTap(tap, lines, vlans && freshPortLines(tap, vlans)).catch((error: unknown) => {
      if (!(error instanceof KvasirError && /Cannot find device/.test(error.message))) throw error
    })
  }
}

async function plugTap(
  tap: string,
  plugged: readonly string[],
  vlans: readonly string[] | undefined,
): Promise<void> {
  const purpose = `the tap ${tap} is on no bridge`
  if (vlans === undefined) {
    await runIpBatch(plugged, purpose)
    return
  }
  await runIpBatch([`link set dev ${tap} down`, ...plugged], purpose)
  await runBridgeBatch(vlans, `the tap ${tap} has not its VLANs`)
  await runIpBatch([`link set dev ${tap} up`], purpose)
}
