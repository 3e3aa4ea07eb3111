import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PlacementPlan } from '@kvasir/contract'
import { holdingOf } from './holding-of.ts'
import { type Mover, planWithMoves } from './plan-moves.ts'
import { planPlacement } from './plan-placement.ts'
import type { PlacementRequest } from './request.ts'
import { gib, regularHost } from './testing/hosts.ts'

/** One node of 3 L3 domains of 4 cores with one thread; core 0 is the host's. */
const topology = regularHost({ nodes: 1, l3: 3, cores: 4, threads: 1 })

function request(vm: string, vcpus: number): PlacementRequest {
  return {
    vm,
    placement: 'dedicated',
    numa: 'auto',
    vcpus,
    memoryBytes: gib,
    ioThreads: [],
    devices: [],
  }
}

/** A VM that runs on given CPUs. */
function running(vm: string, cpus: readonly number[]): Mover {
  const asked = { ...request(vm, cpus.length), cpus: [0, ...cpus] }
  const decision = planPlacement(asked, { topology, holdings: [] })
  return decision.kind === 'placed'
    ? { request: request(vm, cpus.length), plan: decision.plan }
    : assert.fail(decision.reason)
}

const holdingsOf = (vms: readonly Mover[]) =>
  vms.map(({ request: { vm, memoryBytes }, plan }) => holdingOf(vm, { plan, memoryBytes }))
const cpusOf = (plan: PlacementPlan | undefined) => plan?.threads.vcpus.flatMap(({ cpus }) => cpus)

test('a VM that would be on two L3 domains moves the smallest one that makes room on one', () => {
  const vms = [running('a', [1, 2]), running('b', [4, 5]), running('c', [8])]
  const host = { topology, holdings: holdingsOf(vms) }

  const { decision, moves } = planWithMoves(request('new', 4), host, vms)

  assert.deepEqual(
    moves.map(({ vm, former, plan }) => [vm, cpusOf(former), cpusOf(plan)]),
    [['c', [8], [3]]],
  )
  assert.deepEqual(decision.kind === 'placed' && cpusOf(decision.plan), [8, 9, 10, 11])
})

test('nobody is moved who may not be, and nobody for a VM that has room', () => {
  const vms = [running('a', [1, 2]), running('b', [4, 5]), running('c', [8])]
  const host = { topology, holdings: holdingsOf(vms) }

  const unmovable = planWithMoves(request('new', 4), host, [])
  const small = planWithMoves(request('new', 3), host, vms)

  assert.deepEqual([unmovable.moves, small.moves], [[], []])
  assert.deepEqual(unmovable.decision, planPlacement(request('new', 4), host))
})

test('once it was moved, the same question moves nobody and has the same answer', () => {
  const vms = [running('a', [1, 2]), running('b', [4, 5]), running('c', [8])]
  const first = planWithMoves(request('new', 4), { topology, holdings: holdingsOf(vms) }, vms)
  const after = vms.map((mover) => {
    const move = first.moves.find(({ vm }) => vm === mover.request.vm)
    return move === undefined ? mover : { ...mover, plan: move.plan }
  })

  const second = planWithMoves(request('new', 4), { topology, holdings: holdingsOf(after) }, after)

  assert.deepEqual(second.moves, [])
  assert.deepEqual(
    second.decision.kind === 'placed' && cpusOf(second.decision.plan),
    first.decision.kind === 'placed' && cpusOf(first.decision.plan),
  )
})
