/**
 * Whether this host can make the memory of a VM as its spec says: nodes, locking, memory that is taken at the start.
 *
 * Not here: reserved huge pages (hugepages.ts), whether the host has so much memory at all (services/vms/require-fits.ts).
 */
import { formatBytes, type HostTopology, KvasirError, type VmSpec } from '@kvasir/contract'

type Memory = VmSpec['memory']

/** How the host has transparent huge pages; absent where its kernel has none. */
export type ThpMode = 'always' | 'madvise' | 'never' | 'absent'

/** Refuses nodes that the host does not have, or that have too little memory for what is bound to them, with `unsupported`. */
export function requireNodes(vm: string, memory: Memory, nodes: HostTopology['nodes']): void {
  const wanted = memory.nodes
  if (nodes.length === 0)
    throw refuse(
      `VM ${vm} wants memory of node ${wanted.join(', ')}, and this host has no NUMA, so it cannot start here.`,
    )
  const absent = wanted.filter((number) => !nodes.some(({ node }) => node === number))
  if (absent.length > 0)
    throw refuse(
      `VM ${vm} wants memory of node ${absent.join(', ')}, and this host has only ${nodes.map(({ node }) => node).join(', ')}, so it cannot start here.`,
    )
  const named = nodes.filter(({ node }) => wanted.includes(node))
  const empty = named.filter(({ memoryBytes }) => memoryBytes === 0)
  if (empty.length > 0)
    throw refuse(
      `VM ${vm} wants memory of node ${empty.map(({ node }) => node).join(', ')}, which has none, so it cannot start here.`,
    )
  if (memory.nodePolicy !== 'bind' || named.some(({ memoryBytes }) => memoryBytes === undefined)) return
  const total = named.reduce((sum, { memoryBytes = 0 }) => sum + memoryBytes, 0)
  if (memory.size > total)
    throw refuse(
      `VM ${vm} wants ${formatBytes(memory.size)} of memory of node ${wanted.join(', ')}, which has ${formatBytes(total)}, so it cannot start here.`,
    )
}

function refuse(sentence: string): KvasirError {
  return new KvasirError('unsupported', sentence, { details: { field: 'memory.nodes' } })
}

/** Refuses to lock more than the kernel lets this daemon allow an emulator; `limitBytes` is undefined where there is no limit. */
export function requireLockable(vm: string, neededBytes: number, limitBytes: number | undefined): void {
  if (limitBytes === undefined || neededBytes <= limitBytes) return
  throw new KvasirError(
    'unsupported',
    `VM ${vm} wants its memory locked, for which its emulator must be allowed ${formatBytes(neededBytes)}, and this daemon may allow ${formatBytes(limitBytes)} and cannot raise that (CAP_SYS_RESOURCE), so it cannot start. Raise the daemon's limit (systemd: LimitMEMLOCK=infinity).`,
    { details: { field: 'memory.lock', neededBytes, limitBytes } },
  )
}

/** Refuses memory that is taken at the start and is not there. */
export function requireAvailable(vm: string, bytes: number, availableBytes: number): void {
  if (bytes <= availableBytes) return
  throw new KvasirError(
    'not-enough-memory',
    `VM ${vm} takes its ${formatBytes(bytes)} of memory at the start, and the host has ${formatBytes(availableBytes)} available, so it cannot start.`,
    { details: { wantedBytes: bytes, availableBytes } },
  )
}
