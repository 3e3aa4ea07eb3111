import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type HostTopology, placementPlan } from '@kvasir/contract'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { holdingOf } from './holding-of.ts'
import { keepOrPlan } from './keep-plan.ts'
import type { Holding } from './occupancy.ts'
import { planPlacement } from './plan-placement.ts'
import type { PlacementHost, PlacementRequest } from './request.ts'
import { anyHost, anyRequest } from './testing/any-host.ts'

const runs = fuzzRuns(25)

const anyCrowd = fc.record({
  topology: anyHost(),
  allowed: fc.oneof(fc.constant(undefined), fc.array(fc.nat(100), { minLength: 1, maxLength: 60 })),
  requests: fc.array(anyRequest('vm'), { minLength: 1, maxLength: 12 }),
})

interface Crowd {
  readonly topology: HostTopology
  readonly allowed: readonly number[] | undefined
  readonly requests: readonly PlacementRequest[]
}

interface Placed {
  readonly request: PlacementRequest
  readonly plan: Extract<ReturnType<typeof planPlacement>, { kind: 'placed' }>['plan']
  readonly host: PlacementHost
}

/** Places one VM after the other, each beside those that found a place. */
function placeAll({ topology, allowed, requests }: Crowd): readonly Placed[] {
  const holdings: Holding[] = []
  const placed: Placed[] = []
  for (const [index, anonymous] of requests.entries()) {
    const request = { ...anonymous, vm: `vm${index}` }
    const host = { topology, allowed, holdings: [...holdings] }
    const decision = planPlacement(request, host)
    if (decision.kind === 'refused') continue
    placed.push({ request, plan: decision.plan, host })
    holdings.push(holdingOf(request.vm, { plan: decision.plan, memoryBytes: request.memoryBytes }))
  }
  return placed
}

function check(property: (placed: readonly Placed[], crowd: Crowd) => void): void {
  fc.assert(
    fc.property(anyCrowd, (crowd) => property(placeAll(crowd), crowd)),
    { numRuns: runs },
  )
}

const vcpuCpus = ({ plan }: Placed) => plan.threads.vcpus.flatMap(({ cpus }) => cpus)
const helperCpus = ({ plan }: Placed) => [
  ...(plan.threads.emulator ?? []),
  ...plan.threads.ioThreads.flatMap(({ cpus }) => cpus),
]

test('two dedicated vCPUs are never on one hardware thread, and nothing else of any VM is there', () => {
  check((placed) => {
    const dedicated = placed.filter(({ plan }) => plan.placement === 'dedicated')
    const own = dedicated.flatMap(vcpuCpus)
    assert.equal(new Set(own).size, own.length)
    const others = [
      ...placed.flatMap(helperCpus),
      ...placed.filter(({ plan }) => plan.placement !== 'dedicated').flatMap(vcpuCpus),
    ]
    assert.deepEqual(
      others.filter((cpu) => own.includes(cpu)),
      [],
    )
  })
})

test('every vCPU has a place, and no thread is outside of the CPUs that are online and allowed', () => {
  check((placed, { topology, allowed }) => {
    const online = new Set(topology.cores.flatMap(({ cpus }) => cpus))
    for (const one of placed) {
      assert.deepEqual(
        one.plan.threads.vcpus.map(({ vcpu }) => vcpu),
        Array.from({ length: one.request.vcpus }, (_, vcpu) => vcpu),
      )
      assert.ok(one.plan.threads.vcpus.every(({ cpus }) => cpus.length > 0))
      for (const cpu of [...vcpuCpus(one), ...helperCpus(one)]) {
        assert.ok(online.has(cpu), `CPU ${cpu} is not online`)
        assert.ok(allowed === undefined || allowed.includes(cpu), `CPU ${cpu} is not allowed`)
        assert.ok(one.request.cpus?.includes(cpu) ?? true, `the spec does not allow CPU ${cpu}`)
      }
    }
  })
})

test('a VM that starts again finds the place that it had, whoever came after it', () => {
  check((placed, { topology, allowed }) => {
    for (const { request, plan, host } of placed) {
      const first = keepOrPlan(request, host, undefined)
      assert.deepEqual(first.decision, { kind: 'placed', plan })
      const others = placed.filter((other) => other.request !== request)
      const holdings = others.map((other) =>
        holdingOf(other.request.vm, { plan: other.plan, memoryBytes: other.request.memoryBytes }),
      )
      const again = keepOrPlan(request, { topology, allowed, holdings }, { plan, basis: first.basis })
      assert.equal(again.kept, true)
      assert.deepEqual(again.decision, { kind: 'placed', plan })
    }
  })
})

test('what the guest is shown adds up: vCPUs, memory and threads', () => {
  check((placed) => {
    for (const { request, plan } of placed) {
      const { guest } = plan
      assert.ok(guest)
      assert.equal(guest.sockets * guest.cores * guest.threads, request.vcpus)
      if (guest.nodes.length === 0) continue
      assert.deepEqual(
        guest.nodes.flatMap(({ vcpus }) => vcpus),
        plan.threads.vcpus.map(({ vcpu }) => vcpu),
      )
      assert.ok(
        guest.nodes.every(({ vcpus, memoryBytes }) => vcpus.length % guest.threads === 0 && memoryBytes > 0),
      )
      assert.equal(
        guest.nodes.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
        request.memoryBytes,
      )
    }
  })
})

test('bound memory comes from nodes that have it, and no node promises more than it has', () => {
  check((placed, { topology }) => {
    const promised = new Map<number, number>()
    for (const { request, plan } of placed) {
      for (const { node, bytes } of holdingOf('', { plan, memoryBytes: request.memoryBytes }).memory)
        promised.set(node, (promised.get(node) ?? 0) + bytes)
    }
    for (const [node, bytes] of promised) {
      const found = topology.nodes.find((candidate) => candidate.node === node)
      assert.ok((found?.memoryBytes ?? Number.POSITIVE_INFINITY) >= bytes)
    }
  })
})

test('a plan is what the API promises, and the reasoning names the chosen place first', () => {
  check((placed) => {
    for (const { plan } of placed) {
      assert.deepEqual(placementPlan.parse(plan), plan)
      assert.equal(plan.candidates[0]?.verdict, 'chosen')
      assert.equal(plan.candidates.filter(({ verdict }) => verdict === 'chosen').length, 1)
    }
  })
})
