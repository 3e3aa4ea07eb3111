/**
 * Reserved huge pages (hugetlbfs): whether the host has what a VM wants, how many are missing on which node and why, and how to get them.
 *
 * The kernel reserves such pages per node and size, from memory that hangs together; a page that is reserved serves nothing else. Facts:
 * the kernel's Documentation/admin-guide/mm/hugetlbpage.rst.
 */
import { formatBytes, hugePageBytes, KvasirError, type PlacementPlan, type VmSpec } from '@kvasir/contract'

/** What a node has of pages of one size. A host without NUMA is one node, 0. */
export interface NodePages {
  readonly node: number
  readonly total: number
  readonly free: number
  /** Memory of the node that is free, or would be when asked for; undefined where the kernel does not say it. */
  readonly availableBytes: number | undefined
}

/** What the host has of pages of one size. */
export interface HugepageReading {
  /** Whether this kernel has pools of the size, and the processor such pages. */
  readonly support: 'supported' | 'no-processor' | 'no-kernel'
  readonly nodes: readonly NodePages[]
  /** Whether the kernel tells nodes apart; where it does not, its one pool is that of node 0. */
  readonly isNuma: boolean
  /** Whether Kvasir may reserve what is missing. */
  readonly mayReserve: boolean
  /** Whether VMs that start are taking pages now, which count twice meanwhile: as promised and as taken. */
  readonly isUnsettled?: boolean
  /** The names of these VMs. */
  readonly promisedTo?: readonly string[]
}

/** What a VM wants of pages of one size. */
export interface PageWant {
  readonly vm: string
  readonly pageBytes: number
  readonly pages: number
  /** The nodes they may come from; none: any. */
  readonly nodes: readonly number[]
  readonly policy: VmSpec['memory']['nodePolicy']
  /** Of a guest that spans nodes: how many come from each, and from nowhere else. */
  readonly shares?: readonly PagesOfNode[]
}

/** Pages of a node. */
export interface PagesOfNode {
  readonly node: number
  readonly pages: number
}

/** What a VM of a spec wants; undefined when it is content with pages of the kernel. */
export function wantedPages(vm: string, { memory }: Pick<VmSpec, 'memory'>): PageWant | undefined {
  if (memory.pageSize === 'default') return undefined
  const pageBytes = hugePageBytes[memory.pageSize]
  return {
    vm,
    pageBytes,
    pages: memory.size / pageBytes,
    nodes: memory.nodes,
    policy: memory.nodePolicy,
  }
}

/** What a VM wants at a place: its memory from the nodes of the place, in the parts that its guest sees. */
export function pagesAtPlace(
  want: PageWant,
  { threads, guest }: Pick<PlacementPlan, 'threads' | 'guest'>,
): PageWant {
  if (want.nodes.length > 0 || threads.memoryNodes === undefined) return want
  const placed: PageWant = { ...want, nodes: threads.memoryNodes, policy: 'bind' }
  if (guest === undefined || guest.nodes.length === 0) return placed
  const shares = guest.nodes.map(({ memoryNode, memoryBytes }) => ({
    node: memoryNode,
    pages: Math.ceil(memoryBytes / want.pageBytes),
  }))
  return { ...placed, shares }
}

/** The pages that are missing, and on which nodes they would best be reserved; empty when the host has enough. */
export function missingPages(want: PageWant, nodes: readonly NodePages[]): readonly PagesOfNode[] {
  if (want.shares !== undefined) return missingShares(want.shares, nodes)
  const named = nodes.filter(({ node }) => want.nodes.includes(node))
  if (named.length > 0 && want.policy === 'interleave') {
    const pages = Math.ceil(want.pages / named.length)
    return missingShares(
      named.map(({ node }) => ({ node, pages })),
      nodes,
    )
  }
  const isBound = named.length > 0 && want.policy === 'bind'
  const usable = isBound ? named : nodes
  const missing = want.pages - usable.reduce((sum, { free }) => sum + free, 0)
  if (missing <= 0) return []
  return spread(missing, { on: named.length > 0 ? named : nodes, pageBytes: want.pageBytes })
}

function missingShares(shares: readonly PagesOfNode[], nodes: readonly NodePages[]): readonly PagesOfNode[] {
  const wanted = new Map<number, number>()
  for (const { node, pages } of shares) wanted.set(node, (wanted.get(node) ?? 0) + pages)
  return [...wanted]
    .map(([node, pages]) => ({ node, pages: pages - (nodes.find((pool) => pool.node === node)?.free ?? 0) }))
    .filter(({ pages }) => pages > 0)
}

/** Onto the nodes with the most free memory first, onto each no more than it has, and the rest onto the first. */
function spread(
  pages: number,
  to: { readonly on: readonly NodePages[]; readonly pageBytes: number },
): readonly PagesOfNode[] {
  const byRoom = [...to.on].sort((a, b) => (b.availableBytes ?? 0) - (a.availableBytes ?? 0))
  const parts: { node: number; pages: number }[] = []
  let rest = pages
  for (const { node, availableBytes } of byRoom) {
    const part = Math.min(rest, Math.floor((availableBytes ?? 0) / to.pageBytes))
    if (part > 0) parts.push({ node, pages: part })
    rest -= part
  }
  const [first] = parts.length > 0 ? parts : byRoom.map(({ node }) => ({ node, pages: 0 }))
  if (rest === 0 || first === undefined) return parts
  return [{ node: first.node, pages: first.pages + rest }, ...parts.slice(1)]
}

/** Refuses with `unsupported` what no reservation can mend. */
export function requirePageSize(want: PageWant, reading: HugepageReading): void {
  if (reading.support === 'supported') return
  const size = formatBytes(want.pageBytes)
  const why =
    reading.support === 'no-processor'
      ? 'the processor has none (its flag pdpe1gb is missing)'
      : 'its kernel has no pools of them'
  throw new KvasirError(
    'unsupported',
    `VM ${want.vm} wants memory in pages of ${size}, and this host cannot have them: ${why}, so it cannot start here.`,
    { details: { field: 'memory.pageSize', pageBytes: want.pageBytes } },
  )
}

/** Other VMs that run on pages of the same size. */
export interface PageTaker {
  readonly vm: string
  readonly pages: number
}

/** The refusal of a VM whose pages are missing: how many, on which node, why, and how to get them. */
export function tooFewPages(
  want: PageWant,
  reading: HugepageReading,
  takers: readonly PageTaker[],
): KvasirError {
  const missing = missingPages(want, reading.nodes)
  const size = formatBytes(want.pageBytes)
  const nodes = missing.map((part) => {
    const has = reading.nodes.find(({ node }) => node === part.node)
    return { ...part, total: has?.total ?? 0, free: has?.free ?? 0 }
  })
  const places = nodes.map(
    ({ node, pages, total, free }) => `${pages} on node ${node}, ${reasonOf({ total, free, size })}`,
  )
  return new KvasirError(
    'not-enough-memory',
    `VM ${want.vm} wants ${want.pages} ${want.pages === 1 ? 'page' : 'pages'} of ${size}, so it cannot start, for some are missing: ${places.join('; ')}.${takenBy(takers)} ${remedyFor(want, nodes, reading.isNuma)}`,
    {
      details: {
        field: 'memory.pageSize',
        pageBytes: want.pageBytes,
        wantedPages: want.pages,
        missing: nodes,
        takers: [...takers],
      },
    },
  )
}

function reasonOf(pool: { readonly total: number; readonly free: number; readonly size: string }): string {
  if (pool.total === 0) return 'where none is reserved'
  if (pool.free === 0) return `where all ${pool.total} that are reserved are taken`
  return `where ${pool.free} of ${pool.total} that are reserved are free`
}

function takenBy(takers: readonly PageTaker[]): string {
  if (takers.length === 0) return ''
  const named = takers.slice(0, 5).map(({ vm, pages }) => `${vm} (${pages})`)
  const more = takers.length > named.length ? ` and ${takers.length - named.length} more` : ''
  return ` VMs that have such pages: ${named.join(', ')}${more}.`
}

function remedyFor(
  want: PageWant,
  nodes: readonly { node: number; pages: number; total: number }[],
  isNuma: boolean,
): string {
  const kib = want.pageBytes / 1024
  const lines = nodes.map(
    ({ node, pages, total }) =>
      `echo ${total + pages} > /sys/${isNuma ? `devices/system/node/node${node}` : 'kernel/mm'}/hugepages/hugepages-${kib}kB/nr_hugepages`,
  )
  return `Reserve them (${lines.join('; ')}), or let Kvasir do so (hugepages: reserve in its configuration).`
}

/** What the kernel did of a reservation. */
export interface Shortfall {
  readonly node: number
  readonly wanted: number
  readonly got: number
  /** Memory of the node that was free then, or would have been. */
  readonly availableBytes: number | undefined
  /** How long it looked for them, where it had not come to an end by then. */
  readonly longestMs?: number | undefined
}

/** The refusal of a VM whose pages the kernel could not reserve: it has not the memory, or has it in pieces that are too small. */
export function reservationFailed(want: PageWant, shortfall: Shortfall): KvasirError {
  const { node, wanted, got, availableBytes = 0, longestMs } = shortfall
  const size = formatBytes(want.pageBytes)
  const isShort = availableBytes < (wanted - got) * want.pageBytes
  const why =
    longestMs !== undefined
      ? `it was still looking for memory after ${longestMs / 1000} s`
      : isShort
        ? `only ${formatBytes(availableBytes)} is free there`
        : `its ${formatBytes(availableBytes)} of free memory is in pieces that are too small`
  const remedy = isShort
    ? 'Stop what uses the memory.'
    : `Reserve them when the host boots (kernel option hugepagesz=${formatBytes(want.pageBytes).replace(/ ?([MG])iB/, '$1')} hugepages=N).`
  return new KvasirError(
    'not-enough-memory',
    `VM ${want.vm} needs ${wanted} more pages of ${size} on node ${node}, of which the kernel could reserve ${got}, since ${why}, so it cannot start. ${remedy}`,
    {
      details: {
        field: 'memory.pageSize',
        pageBytes: want.pageBytes,
        node,
        missing: wanted - got,
        fragmented: !isShort,
      },
    },
  )
}
