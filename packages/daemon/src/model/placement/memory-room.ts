/**
 * How much memory of a node a VM may count on: what is free there, and no more than what placed VMs were not promised already. Guests
 * touch their memory late, so what is free alone says too much.
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
  if (host.pageRoom !== undefined) return host.pageRoom.get(node) ?? 0
  const found = host.topology.nodes.find((candidate) => candidate.node === node)
  if (found?.memoryBytes === undefined) return found?.freeBytes
  const unpromised = Math.max(0, found.memoryBytes - occupancy.promisedBytes(node))
  return Math.min(unpromised, found.freeBytes ?? unpromised)
}
