/** What was last seen of each network besides how it does, so that who shows a VM or a network waits for nothing. */
import type { Lease, NetworkFinding } from '@kvasir/contract'
import type { RuleCounts } from '../../model/network/rule-counts.ts'
import type { Neighbour, NetworkSight, PoolSight } from '../../ports/networks.ts'

export interface LastSight {
  readonly leases: readonly Lease[]
  /** The physical functions of one of mode sriov. */
  readonly pools: readonly PoolSight[]
  /** The links by which its packets leave the host. */
  readonly uplinks: readonly string[]
  /** What is amiss with it and is not put right by making it again. */
  readonly lasting: readonly NetworkFinding[]
  /** Whom the host has spoken with on it. */
  readonly neighbours: readonly Neighbour[]
  /** What its rules have dropped. */
  readonly ruleCounts: RuleCounts
}

const nothing: LastSight = {
  leases: [],
  pools: [],
  uplinks: [],
  lasting: [],
  neighbours: [],
  ruleCounts: new Map(),
}

export class LastSights {
  readonly #sights = new Map<string, LastSight>()

  of(networkId: string): LastSight {
    return this.#sights.get(networkId) ?? nothing
  }

  /** What a look did not look at stays as it was. */
  note(
    networkId: string,
    { pools, uplinks, lasting, neighbours, ruleCounts }: NetworkSight,
    leases?: readonly Lease[],
  ): void {
    const before = this.of(networkId)
    this.#sights.set(networkId, {
      leases: leases ?? before.leases,
      pools: pools ?? before.pools,
      uplinks: uplinks ?? before.uplinks,
      lasting: lasting ?? before.lasting,
      neighbours: neighbours ?? before.neighbours,
      ruleCounts: ruleCounts ?? before.ruleCounts,
    })
  }

  forget(networkId: string): void {
    this.#sights.delete(networkId)
  }
}
