/**
 * Networks on this host: rules, bridge, forwarding, dnsmasq, made in this order and taken away in the other.
 *
 *     RUNTIME/networks/ID        its folder, made before all else and removed after it: what is there may have something on the host
 *     STATE/networks/ID.leases   what guests were given, kept until the network is deleted
 *
 * Rules come first: at no moment does a guest reach what it may not. All calls that change something follow each other.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { NetworkFinding } from '@kvasir/contract'
import { dnsmasqConf } from '../../model/network/dnsmasq-conf.ts'
import { parseLeases } from '../../model/network/leases.ts'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { wayRules } from '../../model/network/rule-set.ts'
import type { Networks, RaiseOptions } from '../../ports/networks.ts'
import {
  dressBridge,
  inspectBridge,
  isBridgeThere,
  makeBridge,
  removeBridge,
  routeLoopback,
} from './bridge.ts'
import { inspectBridged, lowerBridged, raiseBridged } from './bridged.ts'
import { Dnsmasq, dnsmasqUser } from './dnsmasq.ts'
import { Forwarding } from './forwarding.ts'
import { hostListeners } from './host-listeners.ts'
import { defaultLinks, linkNames } from './link-names.ts'
import { plugTaps } from './links.ts'
import { inspectMacvtaps, lowerMacvtaps, raiseMacvtaps } from './macvtaps.ts'
import { readFilters } from './read-filters.ts'
import { readNeighbours } from './read-neighbours.ts'
import { type VfLender, withSriov } from './sriov-network.ts'
import { surveyHost } from './survey-host.ts'
import { areTablesThere, inspectRules, noteRules, putRules, removeTables, replaceRules } from './tables.ts'
import { VfPools } from './vf-pools.ts'
import { applyVlans } from './vlans.ts'

export interface HostNetworksOptions {
  readonly runtimeDir: string
  readonly stateDir: string
  /** Who lends virtual functions to VMs. */
  readonly lender: VfLender
}

/** The networks of this host. */
export function createNetworks(options: HostNetworksOptions): Networks {
  const folders = join(options.runtimeDir, 'networks')
  const forwarding = new Forwarding(join(options.runtimeDir, 'forwarding.json'))
  const folderOf = (id: string) => join(folders, checkedId(id))
  const leasesOf = (id: string) => join(options.stateDir, 'networks', `${checkedId(id)}.leases`)
  const tools = { folderOf, leasesOf, forwarding }
  /** The rules of packets' ways as each network was last given them; the kernel takes some 20 ms to replace them. */
  const ways = new Map<string, string>()
  let last: Promise<unknown> = Promise.resolve()
  /** Networks whose rules were replaced and not yet read back, which takes processes: the next look does. */
  const unnoted = new Set<string>()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work)
    last = next.catch(() => {})
    return next
  }
  const networks: Networks = {
    survey: surveyHost,
    listeners: hostListeners,
    filters: readFilters,
    raise: (network, raiseOptions) =>
      inTurn(async () => {
        ways.delete(network.id)
        if (network.mode === 'bridge')
          await raiseBridged(network, { folder: folderOf(network.id), ...raiseOptions })
        else if (network.mode === 'macvtap')
          await raiseMacvtaps(network, { folder: folderOf(network.id), ...raiseOptions })
        else await raise(network, { ...tools, ...raiseOptions })
        ways.set(network.id, wayRules(network, raiseOptions.wires))
      }),
    async rewire(network, wires) {
      await inTurn(async () => {
        const text = wayRules(network, wires)
        await replaceRules(network, wires, { keepsWays: ways.get(network.id) === text })
        ways.set(network.id, text)
        if (text !== '') await routeLoopback(network, wires)
        await applyVlans(network, wires)
      })
      unnoted.add(network.id)
    },
    lower: (network, lowerOptions) =>
      inTurn(async () => {
        ways.delete(network.id)
        if (network.mode === 'bridge')
          await lowerBridged(network, { folder: folderOf(network.id), ...lowerOptions })
        else if (network.mode === 'macvtap') await lowerMacvtaps(network, folderOf(network.id))
        else await lower(network, tools)
      }),
    async inspect(network, inspectOptions) {
      const { deep, wires } = inspectOptions
      const folder = folderOf(network.id)
      if (deep && unnoted.delete(network.id))
        await noteRules(network, folder, wires).catch(() => unnoted.add(network.id)) // inspectRules says why.
      if (network.mode === 'macvtap') return await inspectMacvtaps(network, { folder, ...inspectOptions })
      return network.mode === 'bridge'
        ? await inspectBridged(network, { folder, ...inspectOptions })
        : await inspect(network, { ...tools, ...inspectOptions })
    },
    leases: async ({ id }) => parseLeases(await readFile(leasesOf(id), 'utf8').catch(() => ''), Date.now()),
    forget: (id) => rm(leasesOf(id), { force: true }),
    present: async () => readdir(folders).catch(() => []),
  }
  const pools = new VfPools(join(options.runtimeDir, 'vf-pools.json'))
  return withSriov(networks, { folderOf, inTurn, pools, lender: options.lender })
}

interface NetworkTools {
  readonly folderOf: (id: string) => string
  readonly leasesOf: (id: string) => string
  readonly forwarding: Forwarding
}

async function raise(network: NetworkSpec, tools: NetworkTools & RaiseOptions): Promise<void> {
  const { forwarding, onPart = async () => {} } = tools
  await using undo = new AsyncDisposableStack()
  const folder = tools.folderOf(network.id)
  const [hasBridge, hasTables] = await Promise.all([
    isBridgeThere(network),
    areTablesThere(network, tools.wires),
  ])
  if ((await mkdir(folder, { recursive: true, mode: 0o700 })) !== undefined)
    undo.defer(() => rm(folder, { recursive: true, force: true }))

  if (!hasTables) undo.defer(() => removeTables(network, folder))
  await putRules(network, folder, tools.wires)
  await onPart('rules')

  if (!hasBridge) {
    undo.defer(() => removeBridge(network))
    await makeBridge(network)
  }
  await dressBridge(network, tools.wires)
  await plugTaps(network, tools.wires)
  await onPart('bridge')

  if (!hasBridge) undo.defer(() => forwarding.release(network.id))
  await forwarding.need(network.id, familiesForwarded(network))
  await onPart('forwarding')

  const dnsmasq = new Dnsmasq(folder)
  const text = await confOf(network, { ...tools, dnsmasq })
  if (!(await dnsmasq.serves(text))) {
    if (!hasBridge) undo.defer(() => dnsmasq.stop())
    await dnsmasq.start(text, network.name)
  }
  await onPart('dnsmasq')
  undo.move() // All of it stays.
}

async function lower(network: NetworkSpec, { folderOf, forwarding }: NetworkTools): Promise<void> {
  const folder = folderOf(network.id)
  await new Dnsmasq(folder).stop()
  await forwarding.release(network.id)
  await removeBridge(network)
  await removeTables(network, folder)
  await rm(folder, { recursive: true, force: true })
}

async function inspect(
  network: NetworkSpec,
  { folderOf, forwarding, deep, wires }: NetworkTools & Parameters<Networks['inspect']>[1],
): ReturnType<Networks['inspect']> {
  const folder = folderOf(network.id)
  const process = await new Dnsmasq(folder).find({ among: 'pid-file' })
  const findings: NetworkFinding[] = []
  if (!process) findings.push({ thing: 'dnsmasq', detail: 'No dnsmasq serves it.' })
  if (!(await linkNames()).includes(network.bridge))
    findings.push({ thing: 'bridge', detail: `The bridge ${network.bridge} is gone.` })
  else if (deep) findings.push(...(await inspectBridge(network, wires)))
  for (const family of await forwarding.missing(network.id))
    findings.push({ thing: 'forwarding', detail: `Somebody has turned the forwarding of ${family} off.` })
  const rules = deep ? await inspectRules(network, folder, wires) : undefined
  findings.push(...(rules?.findings ?? []))
  const uplinks = network.mode === 'isolated' ? [] : await defaultLinks()
  const neighbours = deep ? await readNeighbours(network.bridge).catch(() => []) : undefined // None without the bridge.
  return { findings, dnsmasqPid: process?.pid, uplinks, neighbours, ruleCounts: rules?.counts }
}

async function confOf(
  network: NetworkSpec,
  { leasesOf, guests, dnsmasq }: NetworkTools & RaiseOptions & { readonly dnsmasq: Dnsmasq },
): Promise<string> {
  const leases = leasesOf(network.id)
  await mkdir(join(leases, '..'), { recursive: true, mode: 0o700 })
  return dnsmasqConf(network, { ...(await dnsmasqUser()), leases, pid: dnsmasq.pidFile, guests })
}

function familiesForwarded({ mode, ipv4, ipv6 }: NetworkSpec): readonly ('ipv4' | 'ipv6')[] {
  if (mode === 'isolated') return []
  return [...(ipv4 ? (['ipv4'] as const) : []), ...(ipv6 ? (['ipv6'] as const) : [])]
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
