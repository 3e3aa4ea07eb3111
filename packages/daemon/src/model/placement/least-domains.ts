/** How many L3 domains a number of vCPUs needs on a host that is empty: what every place is measured against. */
import type { HostMap, MapDomain } from './host-map.ts'

/** The fewest L3 domains of one node that hold so many vCPUs when the host is empty; 1 where no node holds them. */
export function leastDomains(vcpus: number, { nodes }: Pick<HostMap, 'nodes'>): number {
  const counts = nodes.map(({ domains }) => fewestTo(vcpus, topSums(domains.map(threadsOf))))
  const least = Math.min(...counts)
  return Number.isFinite(least) ? least : 1
}

/** Hardware threads of a domain that VMs may use. */
function threadsOf({ cores }: MapDomain): number {
  return cores.reduce((sum, { cpus }) => sum + cpus.length, 0)
}

/** What the largest of some counts add up to: the first, the first two, and so on. */
export function topSums(counts: readonly number[]): readonly number[] {
  let sum = 0
  return counts
    .toSorted((a, b) => b - a)
    .map((count) => {
      sum += count
      return sum
    })
}

function fewestTo(vcpus: number, sums: readonly number[]): number {
  const index = sums.findIndex((sum) => sum >= vcpus)
  return index < 0 ? Number.POSITIVE_INFINITY : index + 1
}
