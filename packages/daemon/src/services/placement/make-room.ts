/**
 * Moves a VM that runs, within its node, before one that starts takes its place; only where the configuration lets that be done.
 *
 * Invariant: the row of who is moved says the new place before its threads go there. A daemon that dies in between is followed by one that puts
 * the threads right, and nothing of the newcomer runs until then. What cannot be moved stays, and the newcomer takes what there is.
 */
import { formatCpuList, KvasirError } from '@kvasir/contract'
import { isPlaceFree } from '../../model/placement/keep-plan.ts'
import type { Move, Mover } from '../../model/placement/plan-moves.ts'
import { requestOf } from '../../model/placement/request-of.ts'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver, Drivers, Seat } from '../../ports/drivers.ts'

import type { Context, PlacementMoves } from '../context.ts'
import { threadPlan } from '../vms/tune-threads.ts'
import { drivenRecords } from './dedicated-cpus.ts'
import { hostFor, type PlacedVm, type PlacementFacts, planWithRoom } from './place-vm.ts'

type RoomContext = Pick<Context, 'ports' | 'drivers' | 'placementMoves'>

/** The VMs that may be moved: those that run by a plan, and are not held to CPUs by hand. */
export function moversOf(drivers: Drivers, allowed: PlacementMoves): readonly Mover[] {
  if (allowed === 'none') return []
  return drivenRecords(drivers).flatMap((record) => {
    const { placement, placementLost, run, saved, spec } = record
    const isStill = isOff(record) || run === undefined || saved !== undefined || placementLost !== undefined
    if (isStill || placement === undefined || spec.cpu.pin !== undefined) return []
    if (placement.plan.placement === 'dedicated' && allowed !== 'all') return []
    const request = requestOf(record.name, run.bootedSpec ?? spec)
    return request === undefined ? [] : [{ request, plan: placement.plan }]
  })
}

/** Moves who has to be moved for a VM that starts now. */
export async function makeRoom(
  vm: PlacedVm,
  facts: PlacementFacts | undefined,
  context: RoomContext,
): Promise<void> {
  if (facts === undefined || context.placementMoves === 'none') return
  const movers = moversOf(context.drivers, context.placementMoves)
  const { moves = [] } = planWithRoom(vm, facts, { drivers: context.drivers, movers }) ?? {}
  for (const move of moves) await moveVm(move, { newcomer: vm.name, facts, context })
}

interface MoveWork {
  readonly newcomer: string
  readonly facts: PlacementFacts
  readonly context: RoomContext
}

async function moveVm(move: Move, work: MoveWork): Promise<void> {
  const { ports, drivers } = work.context
  const driver = drivers.list().find((one: Driver) => one.view().record.name === move.vm)
  try {
    await driver?.take('edit', (seat) => moveSeat(seat, move, work))
  } catch (cause) {
    const isBusy = cause instanceof KvasirError && cause.code === 'busy'
    if (isBusy) ports.log.info({ vm: move.vm }, 'a VM that is busy is not moved to make room')
    else ports.log.warn({ vm: move.vm, err: cause }, 'a VM could not be moved to make room')
  }
}

async function moveSeat(seat: Seat, { former, plan }: Move, work: MoveWork): Promise<void> {
  const { emulator, record } = seat
  const { newcomer, facts, context } = work
  const { ports, drivers } = context
  const { placement } = record
  const host = hostFor(facts, drivers, record.id)
  const memoryBytes = (record.run?.bootedSpec ?? record.spec).memory.size
  // It may have stopped, been moved for another or lost its new place to one since that was planned.
  if (emulator === undefined || placement?.plan.summary !== former.summary) return
  if (!isPlaceFree(plan, { memoryBytes }, host)) return
  const go = async () => await emulator.threads.apply(threadPlan(seat.record, facts.cpuSets, []))
  seat.update({ placement: { ...placement, plan } })
  try {
    await go()
  } catch (cause) {
    if (isPlaceFree(former, { memoryBytes }, hostFor(facts, drivers, record.id))) seat.update({ placement })
    await go().catch(() => {})
    throw cause
  }
  const cpus = formatCpuList(plan.threads.vcpus.flatMap((vcpu) => vcpu.cpus))
  ports.log.info({ vm: record.name, cpus, newcomer }, 'a VM was moved within its node to make room')
}
