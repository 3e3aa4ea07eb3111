/**
 * Where VMs lie: what placed VMs hold, the place for one that starts, and what a start would do.
 *
 * Invariant: between reading what others hold and writing down a place nothing is awaited, so two starts at once never get the same
 * CPU. A VM holds its place from then on until it is off.
 */
import { hugePageBytes, KvasirError, type VmPlacement, type VmSpec } from '@kvasir/contract'
import type { HugepageReading } from '../../model/memory/hugepages.ts'
import type { HostCpuSets } from '../../model/placement/host-cpus.ts'
import { type KeptDecision, keepOrPlan, type StoredPlan } from '../../model/placement/keep-plan.ts'
import type { Mover } from '../../model/placement/plan-moves.ts'
import type { PlacementHost } from '../../model/placement/request.ts'
import { placementOf, requestOf } from '../../model/placement/request-of.ts'
import { isOff } from '../../model/vm/is-off.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { drivenRecords, storedRecords } from './dedicated-cpus.ts'
import { holdingsOf, isStarting, type MemoryReading } from './holdings-of.ts'

/** What the planner must know of the host; read before, since reading takes time. */
export interface PlacementFacts extends Pick<PlacementHost, 'topology' | 'pageRoom'> {
  readonly cpuSets: HostCpuSets
  readonly memory: MemoryReading
  /** Whether VMs were starting when it was read, so that there may be more memory a moment later than it seems. */
  readonly isUnsettled: boolean
}

/** Reads the host for a VM that is to be placed; undefined for one that is not. */
export async function readPlacementFacts(spec: VmSpec, ports: Ports): Promise<PlacementFacts | undefined> {
  if (spec.cpu.placement === 'none') return undefined
  const { pageSize } = spec.memory
  const pageBytes = pageSize === 'default' ? undefined : hugePageBytes[pageSize]
  const starting = storedRecords(ports.store).filter(isStarting)
  const [topology, cpuSets, pages] = await Promise.all([
    ports.host.topology(),
    ports.host.cpuSets(),
    pageBytes === undefined ? undefined : ports.host.hugepages(pageBytes),
  ])
  return {
    topology,
    cpuSets,
    pageRoom: pageBytes === undefined ? undefined : pageRoom(pages, pageBytes),
    memory: {
      startingBefore: new Set(starting.map(({ id }) => id)),
      pageBytes,
      promisedTo: pages?.promisedTo ?? [],
    },
    isUnsettled: starting.length > 0 || pages?.isUnsettled === true,
  }
}

/** Pages that are free, and those that may be reserved, by node. */
function pageRoom(reading: HugepageReading | undefined, pageBytes: number): ReadonlyMap<number, number> {
  const nodes = reading?.nodes ?? []
  return new Map(
    nodes.map(({ node, free, availableBytes = 0 }) => [
      node,
      free * pageBytes + (reading?.mayReserve ? availableBytes : 0),
    ]),
  )
}

/** What a start is planned with; `movers` are the VMs that may be moved now. */
export interface PlanningContext {
  readonly ports: Ports
  readonly drivers: Drivers
  readonly movers: () => readonly Mover[]
}

/** A VM that is to be placed. */
export interface PlacedVm extends Pick<VmRecord, 'id' | 'name' | 'placement' | 'saved'> {
  readonly spec: VmSpec
  /** PCI addresses of host devices that it is to lie near. */
  readonly devices?: readonly string[]
}

/** The place of a VM that starts now; undefined for one that is not placed, `not-enough-cpus` where there is none. At once. */
export function placeStart(
  vm: PlacedVm,
  facts: PlacementFacts | undefined,
  drivers: Drivers,
): StoredPlan | undefined {
  const kept = facts && decide(vm, facts, drivers)
  if (kept === undefined) return undefined
  const { decision, basis } = kept
  if (decision.kind === 'placed') return { plan: decision.plan, basis }
  const { reason, holders } = decision
  throw new KvasirError('not-enough-cpus', `VM ${vm.name} cannot be placed, because ${reason}.`, {
    details: {
      placement: vm.spec.cpu.placement,
      vcpus: vm.spec.cpu.count,
      holders: holders.map(({ vm: name, cpus }) => ({ vm: name, cpus })),
      kept: decision.kept,
    },
  })
}

/** Whether a VM that found no place lacks only memory, of which others that start may leave more than it seems. */
export function mayFitSoon(vm: PlacedVm, facts: PlacementFacts, drivers: Drivers): boolean {
  const starts = drivenRecords(drivers).some((record) => record.id !== vm.id && isStarting(record))
  if (!facts.isUnsettled && !starts) return false
  const nodes = facts.topology.nodes.map(({ memoryBytes: _all, freeBytes: _free, ...node }) => node)
  const topology = { ...facts.topology, nodes }
  return decide(vm, { ...facts, topology, pageRoom: undefined }, drivers)?.decision.kind === 'placed'
}

/** Where a VM lies, or with `anew` where a start would place it now. */
export async function showPlacement(
  record: VmRecord,
  { anew }: { readonly anew: boolean },
  work: PlanningContext,
): Promise<VmPlacement> {
  const { name, placement, placementLost } = record
  if (!anew && !isOff(record) && placementLost !== undefined)
    return { name, state: 'in-force', reason: `the VM runs so, but ${placementLost}`, rejected: [] }
  if (!anew && !isOff(record))
    return placement === undefined
      ? { name, state: 'none', reason: 'it was started without a placement', rejected: [] }
      : { name, state: 'in-force', reason: 'the VM runs so', plan: placement.plan, rejected: [] }
  return await planFor({ ...record, spec: record.saved?.booted?.spec ?? record.spec }, work)
}

/** Where a start would place a VM now. */
export async function planFor(
  vm: PlacedVm,
  { ports, drivers, movers }: PlanningContext,
): Promise<VmPlacement> {
  const facts = await readPlacementFacts(vm.spec, ports)
  const kept = facts && planWithRoom(vm, facts, { drivers, movers: movers() })
  const placement = placementOf(vm.name, kept)
  return kept?.kept === true
    ? { ...placement, reason: 'a start would keep the place that it had' }
    : placement
}

function decide(vm: PlacedVm, facts: PlacementFacts, drivers: Drivers) {
  return planWithRoom(vm, facts, { drivers, movers: [] })
}

/** The place of a VM, and which of those that may be moved go first; undefined for one that is not placed. */
export function planWithRoom(
  vm: PlacedVm,
  facts: PlacementFacts,
  { drivers, movers }: { readonly drivers: Drivers; readonly movers: readonly Mover[] },
): KeptDecision | undefined {
  const guest = vm.saved ? vm.placement?.plan.guest : undefined
  const request = requestOf(vm.name, vm.spec, { guest, devices: vm.devices })
  if (request === undefined) return undefined
  const others = movers.filter((mover) => mover.request.vm !== vm.name)
  return keepOrPlan(request, hostFor(facts, drivers, vm.id), vm.placement, others)
}

/** The host at this moment for one of its VMs. */
export function hostFor(facts: PlacementFacts, drivers: Drivers, id: string): PlacementHost {
  const { topology, pageRoom: room, cpuSets, memory } = facts
  const { allowed } = cpuSets
  const holdings = holdingsOf(drivenRecords(drivers), { except: id, allowed, memory })
  return { topology, pageRoom: room, allowed, holdings }
}
