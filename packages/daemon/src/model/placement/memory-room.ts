/**
 * How much memory of a node a VM may count on: what is free there, and no more than what placed VMs were not promised already. Guests
 * touch their memory late, so what is free alone says too much; and what VMs that start now will take is not free either.
 *
 * A node whose memory is unknown has room for everything.
 */

import type { Occupancy } from './occupancy.ts'
import type { PlacementHost } from './request.ts'

/** Bytes of a node for one more VM; undefined where nobody knows. */
export function memoryRoom(
  node: number,
  { host, occupancy }: { readonly host: PlacementHost; readonly occupancy: Occupancy },
): number | undefined {
  const left = (free: number) => Math.max(0, free - occupancy.untakenBytes(node))
  if (host.pageRoom !== undefined) return left(host.pageRoom.get(node) ?? 0)
  const found = host.topology.nodes.find((candidate) => candidate.node === node)
  const freeBytes = found?.freeBytes === undefined ? undefined : left(found.freeBytes)
  if (found?.memoryBytes === undefined) return freeBytes
  const unpromised = Math.max(0, found.memoryBytes - occupancy.promisedBytes(node))
  return Math.min(unpromised, freeBytes ?? unpromised)
}
