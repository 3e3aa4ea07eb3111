/** What every use-case gets: the ports, the drivers of the VMs, and the runner of jobs. */
import type { Drivers } from '../ports/drivers.ts'
import type { Emit } from '../ports/events.ts'
import type { Ports } from '../ports/ports.ts'
import type { JobRunner } from './jobs/job-runner.ts'
import type { NetworkDesk } from './networks/network-desk.ts'
import type { PoolDesk } from './pools/pool-desk.ts'
import type { HeldFile } from './volumes/hold-file.ts'

/** Which VMs may be moved within their node while they run, to make room for one that starts: none, those that share CPUs, or all. */
export type PlacementMoves = 'none' | 'shared' | 'all'

export interface Context {
  readonly ports: Ports
  readonly drivers: Drivers
  readonly jobs: JobRunner
  readonly emit: Emit
  readonly pools: PoolDesk
  readonly networks: NetworkDesk
  /** Images that are being deleted or were: what was planned on one before must not be made from it. */
  readonly goneImages: Set<string>
  /** Files of pools that somebody is at, who makes volumes of them or gives them back. */
  readonly heldFiles: Set<HeldFile>
  /** Where the sockets of running VMs lie, for those who look them up. */
  readonly runtimeDir: string
  readonly placementMoves: PlacementMoves
}
