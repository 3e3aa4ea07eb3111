/**
 * Networks of mode bridge on this host. Of a bridge that somebody else made, only what guards guests, and their ports, are ours. One around
 * an uplink is ours as a whole (uplink.ts).
 */
import { mkdir, rm } from 'node:fs/promises'
import { KvasirError, type NetworkFinding } from '@kvasir/contract'
import { bridgedOf, vlansMissing } from '../../model/network/host-bridges.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { mtuFindings } from '../../model/network/nic-mtu.ts'
import type { Wire } from '../../model/network/wires.ts'
import type { LowerOptions, NetworkSight, RaiseOptions } from '../../ports/networks.ts'
import { linkNames } from './link-names.ts'
import { plugTaps, readLinks, type ShownLink, strayTaps } from './links.ts'
import { readNeighbours } from './read-neighbours.ts'
import { linksOf } from './survey-host.ts'
import { areTablesThere, inspectRules, putRules, removeTables } from './tables.ts'
import { giveBackUplink, inspectUplink, isUplinkNoted, takeUplink } from './uplink.ts'
import { applyVlans, inspectVlans } from './vlans.ts'

/** Kinds of links that lead to guests or containers, and not out of the host. */
const inwards = ['tun', 'veth']

/** Makes what is missing of it. `network-refused` where its bridge, or its uplink, cannot have guests. */
export async function raiseBridged(
  network: NetworkSpec,
  { folder, wires, onPart = async () => {} }: RaiseOptions & { readonly folder: string },
): Promise<void> {
  await using undo = new AsyncDisposableStack()
  if (!network.uplink) requireHostBridge(network, await readLinks())
  const hasTables = await areTablesThere(network, wires)
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined)
    undo.defer(() => rm(folder, { recursive: true, force: true }))
  if (!hasTables) undo.defer(() => removeTables(network, folder))
  await putRules(network, folder, wires)
  await onPart('rules')
  if (network.uplink) {
    // Whatever step of it fails: what is noted goes back before the folder with the note does.
    if (!(await isUplinkNoted(folder))) undo.defer(() => giveBackUplink(network, { folder }))
    await takeUplink(network, { folder, onPart })
  }
  await plugTaps(network, wires)
  await applyVlans(network, wires)
  await onPart('bridge')
  undo.move()
}

/** Takes away what is ours of it. Who is told on the way and fails is heard when all of it is gone. */
export async function lowerBridged(
  network: NetworkSpec,
  { folder, onUplinkBack = async () => {} }: LowerOptions & { readonly folder: string },
): Promise<void> {
  let told: Promise<void> = Promise.resolve()
  const tell = async () => {
    told = onUplinkBack()
    await told.catch(() => {})
  }
  if (network.uplink) await giveBackUplink(network, { folder, onUplinkBack: tell })
  await removeTables(network, folder)
  await rm(folder, { recursive: true, force: true })
  await told
}

/** What is amiss with it; `deep` looks take processes. */
export async function inspectBridged(
  network: NetworkSpec,
  {
    folder,
    deep,
    wires,
  }: { readonly folder: string; readonly deep: boolean; readonly wires: readonly Wire[] },
): Promise<NetworkSight> {
  if (!deep && (await linkNames()).includes(network.bridge)) return { findings: [], dnsmasqPid: undefined }
  const links = await readLinks()
  const findings = network.uplink
    ? await inspectUplink(network, { folder, links })
    : inspectHostBridge(network, links)
  if (findings.length === 0) {
    const taps = await strayTaps(network.bridge, wires)
    for (const tap of taps)
      findings.push({ thing: 'bridge', detail: `The tap ${tap} is not on the bridge ${network.bridge}.` })
    findings.push(...(await inspectVlans(network, wires)))
  }
  const rules = await inspectRules(network, folder, wires)
  const neighbours = await readNeighbours(network.bridge).catch(() => []) // None where the bridge is gone.
  return {
    findings: [...findings, ...rules.findings],
    lasting: [...mtuFindings(network, wires, mtuOf(network, links)), ...rules.lasting],
    dnsmasqPid: undefined,
    uplinks: uplinksOf(network, links),
    neighbours,
    ruleCounts: rules.counts,
  }
}

function mtuOf({ bridge }: NetworkSpec, links: readonly ShownLink[]): number | undefined {
  return links.find(({ ifname }) => ifname === bridge)?.mtu
}

/** The ports of a bridge that lead out of the host: its own uplink, or what others made ports of theirs. */
function uplinksOf({ bridge, uplink }: NetworkSpec, links: readonly ShownLink[]): readonly string[] {
  const ports = links.flatMap(({ ifname, master, linkinfo }) =>
    master === bridge && ifname !== undefined ? [{ name: ifname, kind: linkinfo?.info_kind ?? '' }] : [],
  )
  if (uplink) return ports.flatMap(({ name }) => (name === uplink.link ? [name] : []))
  return ports.flatMap(({ name, kind }) => (inwards.includes(kind) ? [] : [name]))
}

function inspectHostBridge(network: NetworkSpec, links: readonly ShownLink[]): NetworkFinding[] {
  try {
    requireHostBridge(network, links)
    return []
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'network-refused')
      return [{ thing: 'bridge', detail: error.message }]
    throw error
  }
}

/** `network-refused` where the bridge that somebody else made is not there, is none, is down, or is not as guests were told. */
function requireHostBridge(network: NetworkSpec, links: readonly ShownLink[]): void {
  const { bridge, name, mtu } = network
  const found = bridgedOf(bridge, linksOf(links))
  const isUp = links.some(({ ifname, flags }) => ifname === bridge && flags.includes('UP'))
  const why =
    typeof found === 'string'
      ? found
      : !isUp
        ? `the bridge ${bridge} is down; ip link set ${bridge} up brings it up`
        : found.mtu > mtu
          ? `the bridge ${bridge} has an MTU of ${found.mtu} now and the network one of ${mtu}; stop and start the network`
          : vlansMissing(network, found)
  if (why !== undefined)
    throw new KvasirError(
      'network-refused',
      `Network ${name} has no bridge that guests can be put on: ${why}.`,
      { details: { network: name, link: bridge } },
    )
}
