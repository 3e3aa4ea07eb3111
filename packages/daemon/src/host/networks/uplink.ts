/**
 * A bridge of ours around a link of the host, which the host itself may be reached by.
 *
 *     FOLDER/uplink.json   written before anything is moved: what the uplink had, and whether all of it has gone to the bridge
 *
 * Addresses and routes go in one call of ip(8), which gets all it is to do at once and ends it whether the daemon lives or not. Each time the
 * commands are made of what is there (model/network/uplink-moves.ts), so a move that was cut short is completed, or undone, by whoever comes
 * next. The bridge has the MAC address of the uplink, so that the LAN sees the host where it was; its mark is its group.
 *
 * A boot of the host forgets the file and the bridge together.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import { z } from 'zod'
import { bridgeGroup } from '../../model/network/link-names.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import {
  asNoted,
  type LinkState,
  moveLines,
  nothingOnLink,
  unionOf,
} from '../../model/network/uplink-moves.ts'
import { uplinkRefusal } from '../../model/network/uplinks.ts'
import type { NetworkPart } from '../../ports/networks.ts'
import { isBridgeThere, isOurs, removeBridge } from './bridge.ts'
import { hasOwnAddresses, readLinkState } from './link-state.ts'
import { readLinks, type ShownLink } from './links.ts'
import { runIpBatch } from './network-commands.ts'
import { surveyHost } from './survey-host.ts'

const address = z.object({
  family: z.enum(['inet', 'inet6']),
  local: z.string(),
  prefixlen: z.number(),
  peer: z.string().optional(),
  broadcast: z.string().optional(),
  scope: z.string(),
  label: z.string().optional(),
  metric: z.number().optional(),
  noprefixroute: z.boolean().optional(),
  mngtmpaddr: z.boolean().optional(),
  nodad: z.boolean().optional(),
  valid: z.number().optional(),
  preferred: z.number().optional(),
})
const route = z.object({
  family: z.enum(['inet', 'inet6']),
  words: z.string(),
  expires: z.number().optional(),
})
const journal = z.object({
  link: z.string(),
  wasUp: z.boolean(),
  isMoved: z.boolean(),
  addresses: z.array(address),
  routes: z.array(route),
})

type Journal = z.output<typeof journal>

interface InFolder {
  readonly folder: string
}

/**
 * Makes the bridge, and moves to it what the uplink has. Safe to repeat. `network-refused` where the uplink is not for the taking. What of it
 * is done when a step fails stays, for `giveBackUplink`.
 */
export async function takeUplink(
  network: NetworkSpec,
  { folder, onPart }: InFolder & { readonly onPart: (part: NetworkPart) => Promise<void> },
): Promise<void> {
  const { bridge, uplink } = network
  if (!uplink) throw new TypeError(`Network ${network.name} has no uplink.`)
  const hasBridge = await isBridgeThere(network)
  const noted = await readJournal(folder)
  if (!noted) await requireUplink(network)
  const found = (await readLinks()).find(({ ifname }) => ifname === uplink.link)
  if (!found) throw refused(network, `the host has no link ${uplink.link} now`)
  if (found.master !== undefined && found.master !== bridge)
    throw refused(network, `the link ${uplink.link} belongs to ${found.master} now`)
  const has = await readLinkState(uplink.link)
  const before: Journal = noted ?? {
    link: uplink.link,
    wasUp: found.flags.includes('UP'),
    isMoved: false,
    addresses: [...has.addresses],
    routes: [...has.routes],
  }
  if (!noted) await writeJournal(folder, before)
  await onPart('journal')
  if (!hasBridge) await makeUplinkBridge(network, found)
  const now = hasBridge ? await readLinkState(bridge) : nothingOnLink
  // What somebody took from the bridge since stays away; a bridge that was made again gets all that was noted.
  const wanted = before.isMoved && hasBridge ? has : unionOf(before, has)
  const links = [
    ...(found.flags.includes('UP') ? [] : [`link set dev ${uplink.link} up`]),
    `link set dev ${bridge} up`,
    ...(found.master === bridge ? [] : [`link set dev ${uplink.link} master ${bridge}`]),
  ]
  const moves = moveLines(wanted, {
    from: { link: uplink.link, has },
    to: { link: bridge, has: now },
    atOnce: true,
  })
  await runIpBatch([...links, ...moves], `the bridge ${bridge} has not what ${uplink.link} had`)
  await onPart('uplink')
  await writeJournal(folder, { ...before, isMoved: true })
}

/** Whether anything has been noted of the uplink, and so may have been moved. */
export async function isUplinkNoted(folder: string): Promise<boolean> {
  return (await readJournal(folder)) !== undefined
}

/** Gives back what the bridge has to the uplink, and takes the bridge away. Safe to repeat. */
export async function giveBackUplink(
  network: NetworkSpec,
  { folder, onUplinkBack = async () => {} }: InFolder & { readonly onUplinkBack?: () => Promise<void> },
): Promise<void> {
  const links = await readLinks()
  const own = links.find((link) => link.ifname === network.bridge && isOurs(link, network))
  const noted = (await readJournal(folder)) ?? (own && lostJournal(network))
  const found = links.find(({ ifname }) => ifname === noted?.link)
  const isFree = found?.master === undefined || found.master === network.bridge
  if (noted && found && isFree) {
    const now = own ? asNoted(await readLinkState(network.bridge), noted) : nothingOnLink
    const lines = moveLines(noted.isMoved && own ? now : unionOf(noted, now), {
      from: { link: network.bridge, has: now },
      to: { link: noted.link, has: await readLinkState(noted.link) },
      atOnce: false,
    })
    const freed = found.master === undefined ? [] : [`link set dev ${noted.link} nomaster`]
    const wasDown = noted.wasUp ? [] : [`link set dev ${noted.link} down`]
    await runIpBatch([...freed, ...lines, ...wasDown], `${noted.link} has not what it had`)
    await onUplinkBack()
  }
  await removeBridge(network)
  await rm(journalIn(folder), { force: true })
}

/** What is amiss with the bridge, the uplink, or what the host has on them. */
export async function inspectUplink(
  network: NetworkSpec,
  { folder, links }: InFolder & { readonly links: readonly ShownLink[] },
): Promise<NetworkFinding[]> {
  const { bridge, uplink } = network
  const own = links.find(({ ifname }) => ifname === bridge)
  if (!own) return [{ thing: 'bridge', detail: `The bridge ${bridge} is gone.` }]
  if (!isOurs(own, network))
    return [{ thing: 'bridge', detail: `The link ${bridge} is another one than was made.` }]
  const findings: NetworkFinding[] = []
  const found = links.find(({ ifname }) => ifname === uplink?.link)
  const say = (thing: NetworkFinding['thing'], detail: string) => findings.push({ thing, detail })
  if (!own.flags.includes('UP')) say('bridge', `The bridge ${bridge} is down.`)
  if (!found) say('uplink', `The link ${uplink?.link} is gone.`)
  else if (found.master !== bridge) say('uplink', `The link ${uplink?.link} is no port of ${bridge}.`)
  else if (hasOwnAddresses(found))
    say('uplink', `The link ${uplink?.link} has got addresses again, which belong on the bridge ${bridge}.`)
  if (!(await readJournal(folder))?.isMoved)
    say('uplink', `Not all that ${uplink?.link} had has been moved to ${bridge}.`)
  return findings
}

/** The host's own settings of the uplink go with its addresses: whether routers are listened to, and what is let in. */
const settings = {
  ipv4: [
    'rp_filter',
    'forwarding',
    'arp_ignore',
    'arp_announce',
    'arp_filter',
    'accept_redirects',
    'proxy_arp',
  ],
  ipv6: ['disable_ipv6', 'accept_ra', 'autoconf', 'forwarding', 'use_tempaddr', 'accept_redirects'],
} as const

async function makeUplinkBridge(network: NetworkSpec, { address: mac, mtu }: ShownLink): Promise<void> {
  const { bridge, id, name, uplink, vlans } = network
  const filtering = vlans === undefined ? '' : ' vlan_filtering 1'
  await runIpBatch(
    [
      `link add name ${bridge} address ${mac} group ${bridgeGroup(id)} mtu ${mtu} type bridge stp_state 0 forward_delay 0${filtering}`,
      `link set dev ${bridge} alias "kvasir network ${name}"`,
    ],
    `the bridge of network ${name} is not made`,
  ).catch((error: unknown) => {
    const lacksVlans = vlans && error instanceof KvasirError && /not supported/.test(error.message)
    throw lacksVlans ? noVlans(name, error) : error
  })
  for (const [family, names] of Object.entries(settings))
    for (const setting of names) {
      const folder = `/proc/sys/net/${family}/conf`
      const value = await readFile(join(folder, uplink?.link ?? '', setting), 'utf8').catch(() => undefined)
      // A kernel without IPv6 has none of these.
      if (value !== undefined) await writeFile(join(folder, bridge, setting), value)
    }
}

function noVlans(network: string, cause: KvasirError): KvasirError {
  const detail = 'this kernel has no bridges that tell VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING)'
  return new KvasirError('unsupported', `Network ${network} cannot be made with VLANs: ${detail}.`, {
    details: { network },
    cause,
  })
}

async function requireUplink(network: NetworkSpec): Promise<void> {
  const why = uplinkRefusal(network, await surveyHost())
  if (why !== undefined) throw refused(network, why)
}

function refused({ name, uplink }: NetworkSpec, why: string): KvasirError {
  return new KvasirError('network-refused', `Network ${name} has not its uplink: ${why}.`, {
    details: { network: name, link: uplink?.link },
  })
}

/** Who has lost the file gives back all that the bridge has. */
function lostJournal({ uplink }: NetworkSpec): Journal | undefined {
  return uplink && { link: uplink.link, wasUp: true, isMoved: true, addresses: [], routes: [] }
}

function journalIn(folder: string): string {
  return join(folder, 'uplink.json')
}

/** Only a file that was written whole has this name. */
async function readJournal(folder: string): Promise<Journal | undefined> {
  const text = await readFile(journalIn(folder), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : journal.parse(JSON.parse(text))
}

async function writeJournal(folder: string, now: Journal & LinkState): Promise<void> {
  await writeFile(`${journalIn(folder)}.new`, JSON.stringify(now), { mode: 0o600 })
  await rename(`${journalIn(folder)}.new`, journalIn(folder))
}
