/**
 * The macvtaps of a network's guests, on a link of the host that stays as it is.
 *
 * A macvtap outlives the emulator that has it open, other than a tap. So it is made and taken away with the rules of its network: made for a
 * NIC that comes, taken away when no VM has the NIC any more, and known by its group (model/network/macvtap.ts) also to a daemon that knows
 * nothing else of it. One that is lost under a guest that runs is not made again: the emulator has the queues of the one that was.
 */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import { z } from 'zod'
import { macvtapGroup, macvtapLinkOf, passthruHarm } from '../../model/network/macvtap.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import type { Wire } from '../../model/network/wires.ts'
import type { NetworkSight, Networks, RaiseOptions } from '../../ports/networks.ts'
import { linkNames } from './link-names.ts'
import { askIp, runIpBatch } from './network-commands.ts'
import { hostLinks, surveyHost } from './survey-host.ts'
import { areTablesThere, inspectRules, putRules, removeTables } from './tables.ts'

const shown = z.object({
  ifname: z.string(),
  link: z.string().optional(),
  address: z.string().optional(),
  mtu: z.number(),
  group: z.string().default('default'),
  flags: z.array(z.string()).default([]),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z.object({ mode: z.string().optional() }).optional(),
    })
    .optional(),
})

type Shown = z.output<typeof shown>

/** Makes the macvtaps of NICs that come, takes away those that nobody has, and repairs the others. */
export async function raiseMacvtaps(
  network: NetworkSpec,
  { folder, wires, onPart = async () => {} }: RaiseOptions & { readonly folder: string },
): Promise<void> {
  await using undo = new AsyncDisposableStack()
  await requireMacvtapLink(network)
  const hasTables = await areTablesThere(network, wires)
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined)
    undo.defer(() => rm(folder, { recursive: true, force: true }))
  const marks = await marksBeside(folder)
  const links = await allLinks()
  const isWanted = (link: Shown) =>
    wires.some((wire) => wire.tap === link.ifname && (!wire.comes || isAsWanted(link, network)))
  const ours = links.filter((link) => isOf(network, link))
  const kept = ours.filter(isWanted)
  const stale = links.filter(
    (link) =>
      !kept.includes(link) &&
      (ours.includes(link) || (isMacvtap(link, marks) && wires.some(({ tap }) => tap === link.ifname))),
  )
  await removeLinks(stale, network)
  for (const wire of wires) requireFreeName(wire, { network, links, stale, kept })
  const missing = wires.filter(({ tap, comes }) => comes && !kept.some(({ ifname }) => ifname === tap))
  if (kept.length === 0 && (missing.length > 0 || wires.length === 0)) await requireHarmless(network)
  for (const wire of missing) {
    await makeMacvtap(network, wire)
    undo.defer(() => removeByName(wire.tap, network))
  }

  if (!hasTables) undo.defer(() => removeTables(network, folder))
  const there = new Set([...kept.map(({ ifname }) => ifname), ...missing.map(({ tap }) => tap)])
  const present = wires.filter(({ tap }) => there.has(tap))
  await putRules(network, folder, present)
  await onPart('rules')
  for (const wire of present) await bringUp(network, wire)
  await onPart('bridge')
  undo.move() // All of it stays.
}

/** Takes away all of a network: every macvtap of it, and no other, its rules, its folder. */
export async function lowerMacvtaps(network: NetworkSpec, folder: string): Promise<void> {
  await removeLinks(
    (await allLinks()).filter((link) => isOf(network, link)),
    network,
  )
  await removeTables(network, folder)
  await rm(folder, { recursive: true, force: true })
}

/** What is amiss with the link, the macvtaps and the rules. */
export async function inspectMacvtaps(
  network: NetworkSpec,
  { folder, deep, wires }: Parameters<Networks['inspect']>[1] & { readonly folder: string },
): Promise<NetworkSight> {
  const rest = { dnsmasqPid: undefined, uplinks: [network.bridge] }
  const isGone = !(await linkNames()).includes(network.bridge)
  if (!deep && !isGone) return { ...rest, findings: [] }
  const seen = await inspectLinks(network, wires)
  const rules = await inspectRules(network, folder, wires)
  const lasting = [...(seen.lasting ?? []), ...rules.lasting]
  return { ...rest, findings: [...seen.findings, ...rules.findings], lasting, ruleCounts: rules.counts }
}

async function inspectLinks(
  network: NetworkSpec,
  wires: readonly Wire[],
): Promise<Pick<NetworkSight, 'findings' | 'lasting'>> {
  const { bridge: name } = network
  try {
    await requireMacvtapLink(network)
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'network-refused')
      return { findings: [{ thing: 'link', detail: error.message }], lasting: lostOf([], { wires, name }) }
    throw error
  }
  const links = (await allLinks()).filter((link) => isOf(network, link))
  const findings = wires.flatMap((wire): readonly NetworkFinding[] => {
    const link = links.find(({ ifname }) => ifname === wire.tap)
    if (link) return isAsMade(link, { wire, network }) ? [] : [changed(wire)]
    return wire.comes ? [{ thing: 'link', detail: `The macvtap ${wire.tap} is not there.` }] : []
  })
  const lacksCarrier = (await hostLinks()).some((one) => one.name === name && one.lacksCarrier)
  return {
    findings,
    lasting: [
      ...(lacksCarrier
        ? [
            {
              thing: 'link' as const,
              detail: `The link ${name} has no carrier: there is no cable, or nobody at its other end, so guests have only each other.`,
            },
          ]
        : []),
      ...lostOf(links, { wires, name }),
    ],
  }
}

function changed({ tap }: Wire): NetworkFinding {
  return { thing: 'link', detail: `The macvtap ${tap} is down, or not as it was made.` }
}

/** NICs whose macvtap went with the link, or was taken away by somebody. */
function lostOf(
  links: readonly Shown[],
  { wires, name }: { readonly wires: readonly Wire[]; readonly name: string },
): readonly NetworkFinding[] {
  return wires.flatMap(({ vm, nic, tap, comes }) =>
    comes || links.some(({ ifname }) => ifname === tap)
      ? []
      : [
          {
            thing: 'link',
            detail: `NIC ${nic} of VM ${vm} has lost its macvtap on ${name}, and with it the network; it has one again when the NIC is taken out and plugged again, or with the VM's next start.`,
          },
        ],
  )
}

/** `network-refused` in words where the link is not there, carries nobody, or takes smaller packets than guests are told. */
async function requireMacvtapLink({ bridge, name, mtu }: NetworkSpec): Promise<void> {
  const found = macvtapLinkOf(bridge, await hostLinks())
  const why =
    typeof found === 'string'
      ? found
      : found.mtu < mtu
        ? `the link ${bridge} takes packets of ${found.mtu} bytes at most now, and its guests are told ${mtu}; give it that MTU back, or the network the other one`
        : undefined
  if (why !== undefined)
    throw new KvasirError(
      'network-refused',
      `Network ${name} has no link that guests can be put on: ${why}.`,
      {
        details: { network: name, link: bridge },
      },
    )
}

/** One guest has all that comes in by the link: nothing of the host's may be there, unless that was asked for. */
async function requireHarmless({ name, bridge, macvtap, forced }: NetworkSpec): Promise<void> {
  const harm = macvtap === 'passthru' && !forced ? passthruHarm(bridge, await surveyHost()) : undefined
  if (harm !== undefined)
    throw new KvasirError(
      'network-refused',
      `No guest of network ${name} gets the link ${bridge} for itself: ${harm}. A network that is created with force takes it all the same.`,
      { details: { network: name, link: bridge } },
    )
}

function requireFreeName(
  { tap, nic, vm }: Wire,
  {
    network,
    links,
    stale,
    kept,
  }: {
    readonly network: NetworkSpec
    readonly links: readonly Shown[]
    readonly stale: readonly Shown[]
    readonly kept: readonly Shown[]
  },
): void {
  const there = links.find(({ ifname }) => ifname === tap)
  if (!there || stale.includes(there) || kept.includes(there)) return
  throw new KvasirError(
    'network-refused',
    `The link ${tap} is there and was not made for NIC ${nic} of VM ${vm}, so the NIC has no link on network ${network.name} and that one stays.`,
    { details: { network: network.name, link: tap } },
  )
}

/** It is down, and the host has no address on it: what the guest may not is put before it is up. */
async function makeMacvtap(
  network: NetworkSpec,
  { tap, mac, nic, vm, mtu = network.mtu }: Wire,
): Promise<void> {
  const { id, bridge, macvtap = 'bridge' } = network
  const group = macvtapGroup(id)
  const purpose = `NIC ${nic} of VM ${vm} has no link on ${bridge}`
  await runIpBatch(
    [
      `link add link ${bridge} name ${tap} group ${group} address ${mac} mtu ${mtu} type macvtap mode ${macvtap}`,
    ],
    purpose,
  ).catch((error: unknown) => {
    const isBusy = error instanceof KvasirError && /Device or resource busy/.test(error.message)
    throw isBusy
      ? inUse(`The link ${bridge} is somebody else's port, or has all its guests can have, so ${purpose}.`)
      : error
  })
  await writeFile(`/proc/sys/net/ipv6/conf/${tap}/disable_ipv6`, '1').catch(() => {}) // A kernel without IPv6 has none to turn off.
}

/** Guests listen to groups that the host does not know of, neighbours of IPv6 among them: everything sent to many is passed on. */
async function bringUp(network: NetworkSpec, { tap, mac, nic, vm, mtu = network.mtu }: Wire): Promise<void> {
  const { bridge } = network
  const purpose = `NIC ${nic} of VM ${vm} has no link on ${bridge}`
  const line = `link set dev ${tap} address ${mac} mtu ${mtu} allmulticast on up`
  await runIpBatch([line], purpose).catch((error: unknown) => {
    const isTwin = error instanceof KvasirError && /Address already in use/.test(error.message)
    throw isTwin ? inUse(`Somebody on ${bridge} has the MAC address ${mac}, so ${purpose}.`) : error
  })
}

function inUse(sentence: string): KvasirError {
  return new KvasirError('in-use', sentence)
}

/** Whether a macvtap is on the network's link and in its mode; for a NIC that comes, another one is made anew. */
function isAsWanted({ link, linkinfo }: Shown, network: NetworkSpec): boolean {
  return link === network.bridge && linkinfo?.info_data?.mode === network.macvtap
}

function isAsMade(
  link: Shown,
  { wire, network }: { readonly wire: Wire; readonly network: NetworkSpec },
): boolean {
  const { address, mtu, flags } = link
  return (
    address === wire.mac &&
    mtu === (wire.mtu ?? network.mtu) &&
    flags.includes('UP') &&
    flags.includes('ALLMULTI')
  )
}

function isOf({ id }: NetworkSpec, link: Shown): boolean {
  return isMacvtap(link, new Set([String(macvtapGroup(id))]))
}

function isMacvtap({ linkinfo, group, ifname }: Shown, marks: ReadonlySet<string>): boolean {
  return linkinfo?.info_kind === 'macvtap' && marks.has(group) && ifname.startsWith('kvt')
}

/** The marks of all networks of this daemon: a NIC that changed its network may have left a macvtap on the other one. */
async function marksBeside(folder: string): Promise<ReadonlySet<string>> {
  const ids = await readdir(dirname(folder))
  return new Set(ids.map((id) => String(macvtapGroup(id))))
}

async function removeLinks(links: readonly Shown[], network: NetworkSpec): Promise<void> {
  for (const { ifname } of links) await removeByName(ifname, network)
}

async function removeByName(tap: string, { name }: NetworkSpec): Promise<void> {
  await runIpBatch([`link delete dev ${tap} type macvtap`], `a macvtap of network ${name} stays`).catch(
    (error: unknown) => {
      if (!(error instanceof KvasirError && /Cannot find device/.test(error.message))) throw error
    },
  )
}

async function allLinks(): Promise<readonly Shown[]> {
  return z.array(shown).parse(await askIp(['-details', 'link', 'show']))
}
