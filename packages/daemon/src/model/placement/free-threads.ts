/**
 * Which hardware threads of a core a VM may still take, by the way it is placed.
 *
 * dedicated: those that no other VM may run on, but never the core that is kept for the host. pack and spread: those that are nobody's
 * own, as long as fewer vCPUs share them than there are threads; with overcommit, more. Isolated CPUs are not balanced by the
 * scheduler, so threads that float do not belong on them.
 */
import type { HostMap, MapCore } from './host-map.ts'
import type { Occupancy } from './occupancy.ts'

/** A way to be placed; `none` is not planned. */
export type PlacedMode = 'pack' | 'spread' | 'dedicated'

/** What decides about free threads. */
export interface Room {
  readonly map: HostMap
  readonly occupancy: Occupancy
  readonly mode: PlacedMode
  /** How many vCPUs may share a hardware thread; 1 unless the host is overcommitted. Of no meaning for dedicated VMs. */
  readonly perThread: number
}

/** A core and what can be had of it. */
export interface FreeCore {
  readonly core: MapCore
  /** The CPUs to take from, the least loaded first. */
  readonly cpus: readonly number[]
  /** How many vCPUs it still takes. */
  readonly slots: number
  /** Nobody else is on it. */
  readonly whole: boolean
}

const epsilon = 1e-6

/** What can be had of a core; undefined when nothing. */
export function freeCore(core: MapCore, room: Room): FreeCore | undefined {
  return room.mode === 'dedicated' ? freeForOneself(core, room) : freeToShare(core, room)
}

function freeForOneself(core: MapCore, { map, occupancy }: Room): FreeCore | undefined {
  const kept = new Set(map.kept)
  const cpus = core.cpus.filter(
    (cpu) => !kept.has(cpu) && occupancy.holderOf(cpu) === undefined && occupancy.sharersOf(cpu).length === 0,
  )
  if (cpus.length === 0) return undefined
  return { core, cpus, slots: cpus.length, whole: cpus.length === core.cpus.length }
}

function freeToShare(core: MapCore, { occupancy, perThread }: Room): FreeCore | undefined {
  if (core.isolated) return undefined
  const cpus = core.cpus
    .filter((cpu) => occupancy.holderOf(cpu) === undefined)
    .sort((a, b) => occupancy.loadOf(a) - occupancy.loadOf(b) || a - b)
  const load = cpus.reduce((sum, cpu) => sum + occupancy.loadOf(cpu), 0)
  const slots = Math.floor(cpus.length * perThread - load + epsilon)
  if (slots <= 0) return undefined
  return { core, cpus, slots, whole: cpus.length === core.cpus.length && load < epsilon }
}
