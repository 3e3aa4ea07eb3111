/** The VLANs of ports, as bridge(8) tells and sets them. */
import type { NetworkFinding } from '@kvasir/contract'
import { z } from 'zod'
import type { NetworkSpec } from '../../model/network/network-record.ts'
import { type VlanTable, type VlanWay, vlanChanges, wantedTables } from '../../model/network/port-vlans.ts'
import type { Wire } from '../../model/network/wires.ts'
import { readLinks } from './links.ts'
import { askBridge, runBridgeBatch } from './network-commands.ts'

const shown = z.array(
  z.object({
    ifname: z.string(),
    vlans: z.array(
      z.object({ vlan: z.number(), vlanEnd: z.number().optional(), flags: z.array(z.string()).default([]) }),
    ),
  }),
)

/** Gives each port of a network that is there what it is to have. Ports of others are left alone. */
export async function applyVlans(network: NetworkSpec, wires: readonly Wire[]): Promise<void> {
  const lines = (await changesOf(network, wires)).flatMap(({ changes }) => changes)
  if (lines.length > 0) await runBridgeBatch(lines, `ports of network ${network.name} have not their VLANs`)
}

/** Ports that have others than they are to have. */
export async function inspectVlans(
  network: NetworkSpec,
  wires: readonly Wire[],
): Promise<readonly NetworkFinding[]> {
  return (await changesOf(network, wires)).map(({ port }) => ({
    thing: 'bridge',
    detail: `The port ${port} of the bridge ${network.bridge} has not the VLANs that it was given.`,
  }))
}

async function changesOf(network: NetworkSpec, wires: readonly Wire[]) {
  const wanted = wantedTables(network, wires)
  if (wanted.size === 0) return []
  const [tables, links] = [await readTables(), await readLinks()]
  const ports = new Set(links.flatMap(({ ifname, master }) => (master === network.bridge ? ifname : [])))
  return [...wanted].flatMap(([port, table]) => {
    const seen = tables.get(port) ?? new Map()
    const changes = ports.has(port) ? vlanChanges(port, table, seen) : []
    return changes.length > 0 ? [{ port, changes }] : []
  })
}

/** All ports of all bridges that have any; a port that has none is not told. */
async function readTables(): Promise<ReadonlyMap<string, VlanTable>> {
  const ports = shown.parse(await askBridge(['vlan', 'show']))
  return new Map(
    ports.map(({ ifname, vlans }) => {
      const table = new Map<number, VlanWay>()
      for (const { vlan, vlanEnd = vlan, flags } of vlans)
        for (let one = vlan; one <= vlanEnd; one++) table.set(one, wayOf(flags))
      return [ifname, table]
    }),
  )
}

function wayOf(flags: readonly string[]): VlanWay {
  const [isPvid, isUntagged] = [flags.includes('PVID'), flags.includes('Egress Untagged')]
  return isPvid && isUntagged ? 'native' : isPvid || isUntagged ? 'odd' : 'tagged'
}
