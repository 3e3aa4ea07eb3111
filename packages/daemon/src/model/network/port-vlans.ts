/**
 * The VLANs of the ports of a bridge that tells them apart: which a port is to have, and the words of bridge(8) that make it so.
 *
 * A port that comes to a bridge has the bridge's own VLAN until it is told otherwise, so what is said of a tap is said before it is up. The
 * uplink of a bridge of ours has VLAN 1 without tags, which is the LAN's own, and with tags each other one that a NIC has: what no guest
 * needs does not come in.
 */
import type { VlanTrunk } from '@kvasir/contract'
import type { NetworkSpec } from './network-record.ts'
import type { Wire } from './wires.ts'

/** As it is asked for: one alone is an access port. */
export interface PortVlans {
  readonly vlan?: number | undefined
  readonly trunk?: VlanTrunk | undefined
}

/** How frames of a VLAN leave a port; `native` ones come in by it without tags too. `odd`: as nobody here asks for it. */
export type VlanWay = 'native' | 'tagged' | 'odd'
/** The VLANs of one port. */
export type VlanTable = ReadonlyMap<number, VlanWay>

/** The VLAN of the LAN itself, as bridges have it. */
const lanVlan = 1

/** The VLANs of a NIC: its own, or what its network says of those that name none. Undefined where the bridge does not tell them apart. */
export function vlansOf({ vlans }: Pick<NetworkSpec, 'vlans'>, nic: PortVlans): PortVlans | undefined {
  if (vlans === undefined) return undefined
  const { vlan, trunk } = (nic.vlan ?? nic.trunk) === undefined ? vlans : nic
  if ((vlan ?? trunk) === undefined) return { vlan: lanVlan }
  return { ...(vlan === undefined ? {} : { vlan }), ...(trunk === undefined ? {} : { trunk }) }
}

/** Each VLAN of a port. */
export function vlanTable({ vlan, trunk = [] }: PortVlans): VlanTable {
  const table = new Map<number, VlanWay>(vlan === undefined ? [] : [[vlan, 'native']])
  for (const range of trunk) {
    const [first = 0, last = first] = String(range).split('-').map(Number)
    for (let one = first; one <= last; one++) if (!table.has(one)) table.set(one, 'tagged')
  }
  return table
}

/** What the ports of a network are to have, by their names: its taps, and the uplink of a bridge of its own. */
export function wantedTables(
  network: Pick<NetworkSpec, 'vlans' | 'uplink'>,
  wires: readonly Wire[],
): ReadonlyMap<string, VlanTable> {
  if (network.vlans === undefined) return new Map()
  const tables = new Map<string, VlanTable>()
  const carried = new Map<number, VlanWay>([[lanVlan, 'native']])
  for (const wire of wires) {
    const table = vlanTable(vlansOf(network, wire) ?? {})
    tables.set(wire.tap, table)
    for (const one of table.keys()) if (one !== lanVlan) carried.set(one, 'tagged')
  }
  if (network.uplink) tables.set(network.uplink.link, carried)
  return tables
}

/** The commands by which a port that has just come gets its VLANs and keeps no other. */
export function freshPortLines(port: string, vlans: PortVlans): readonly string[] {
  return [`vlan del dev ${port} vid 1-4094`, ...addLines(port, vlanTable(vlans))]
}

/** The commands that make a port have what it is to have. What it keeps is not interrupted. */
export function vlanChanges(port: string, wanted: VlanTable, seen: VlanTable): readonly string[] {
  const added = new Map([...wanted].filter(([one, way]) => seen.get(one) !== way))
  const gone = [...seen.keys()].filter((one) => !wanted.has(one))
  return [...addLines(port, added), ...rangesOf(gone).map((range) => `vlan del dev ${port} vid ${range}`)]
}

function addLines(port: string, table: VlanTable): readonly string[] {
  const tagged = [...table].flatMap(([one, way]) => (way === 'tagged' ? [one] : []))
  const native = [...table].flatMap(([one, way]) => (way === 'native' ? [one] : []))
  return [
    ...rangesOf(tagged).map((range) => `vlan add dev ${port} vid ${range}`),
    ...native.map((one) => `vlan add dev ${port} vid ${one} pvid untagged`),
  ]
}

/** `10`, `20-30`: what follows each other as one. */
function rangesOf(vlans: readonly number[]): readonly string[] {
  const ranges: [first: number, last: number][] = []
  for (const one of vlans.toSorted((a, b) => a - b)) {
    const open = ranges.at(-1)
    if (open && open[1] === one - 1) open[1] = one
    else ranges.push([one, one])
  }
  return ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`))
}
