/** What the planner is asked, and what it answers: plain values, so that the same question always has the same answer. */
import type { GuestShape, HostTopology, PlacementCandidate, PlacementPlan } from '@kvasir/contract'
import type { PlacedMode } from './free-threads.ts'
import type { Holding } from './occupancy.ts'

/** A VM that is to be placed. */
export interface PlacementRequest {
  readonly vm: string
  readonly placement: PlacedMode
  readonly numa: 'auto' | 'strict' | 'off'
  readonly vcpus: number
  readonly memoryBytes: number
  /** The size of its pages where it wants huge ones; its parts are multiples of that. */
  readonly pageBytes?: number | undefined
  /** Disks with an I/O thread of their own. */
  readonly ioThreads: readonly string[]
  /** PCI addresses of host devices that it is given. */
  readonly devices: readonly string[]
  /** The CPUs that its spec allows. */
  readonly cpus?: readonly number[] | undefined
  /** The nodes that its spec takes memory from; none: any. */
  readonly memoryNodes?: readonly number[] | undefined
  /** What its saved memory was shown of the host: that many nodes and threads it must have again. */
  readonly guest?: GuestShape | undefined
}

/** The host at that moment. */
export interface PlacementHost {
  readonly topology: HostTopology
  /** The CPUs that the daemon may use; absent: all that are online. */
  readonly allowed?: readonly number[] | undefined
  /** What the other VMs hold. */
  readonly holdings: readonly Holding[]
  /** Free pages of the wanted size, in bytes by node; absent where ordinary memory is wanted. */
  readonly pageRoom?: ReadonlyMap<number, number> | undefined
}

/** A place, or why there is none. */
export type PlacementDecision =
  | { readonly kind: 'placed'; readonly plan: PlacementPlan }
  | {
      readonly kind: 'refused'
      /** A clause that can follow `because`. */
      readonly reason: string
      readonly candidates: readonly PlacementCandidate[]
      /** Who has CPUs for itself. */
      readonly holders: readonly { readonly vm: string; readonly cpus: readonly number[] }[]
      readonly kept: readonly number[]
    }
