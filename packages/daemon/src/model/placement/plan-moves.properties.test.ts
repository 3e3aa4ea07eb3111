import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fuzzRuns } from '../../../../../tools/fuzz-runs.ts'
import { holdingOf } from './holding-of.ts'
import { type Mover, planWithMoves } from './plan-moves.ts'
import type { PlacementHost } from './request.ts'
import { anyHost, anyRequest } from './testing/any-host.ts'

const anyCrowd = fc.record({
  topology: anyHost(),
  requests: fc.array(anyRequest('vm'), { minLength: 2, maxLength: 10 }),
})

const holdingsOf = (movers: readonly Mover[]) =>
  movers.map(({ request: { vm, memoryBytes }, plan }) => holdingOf(vm, { plan, memoryBytes }))
const cpusOf = ({ plan }: Pick<Mover, 'plan'>) => plan.threads.vcpus.flatMap(({ cpus }) => cpus)

test('after moves no dedicated vCPU shares a thread, and who was moved has lost nothing', () => {
  fc.assert(
    fc.property(anyCrowd, ({ topology, requests }) => {
      let there: readonly Mover[] = []
      const nodeOf = (cpu: number) => topology.cores.find(({ cpus }) => cpus.includes(cpu))?.node
      for (const [index, anonymous] of requests.entries()) {
        const request = { ...anonymous, vm: `vm${index}` }
        const host: PlacementHost = { topology, holdings: holdingsOf(there) }
        const { decision, moves } = planWithMoves(request, host, there)
        if (decision.kind === 'refused') {
          assert.deepEqual(moves, [])
          continue
        }
        assert.ok(moves.length <= 1)
        for (const { former, plan } of moves) {
          const [before, after] = [former, plan].map((one) => cpusOf({ plan: one }))
          assert.ok(after?.every((cpu) => before?.map(nodeOf).includes(nodeOf(cpu))))
          assert.deepEqual([plan.guest, plan.threads.memoryNodes], [former.guest, former.threads.memoryNodes])
        }
        const moved = new Map(moves.map(({ vm, plan }) => [vm, plan]))
        there = [
          ...there.map((one) => ({ ...one, plan: moved.get(one.request.vm) ?? one.plan })),
          { request, plan: decision.plan },
        ]
        const holdings = holdingsOf(there)
        const own = holdings.flatMap(({ dedicated }) => dedicated)
        const others = holdings.flatMap(({ shared, helpers }) => [...shared.flat(), ...helpers])
        assert.equal(new Set(own).size, own.length)
        assert.deepEqual(
          others.filter((cpu) => own.includes(cpu)),
          [],
        )
      }
    }),
    { numRuns: fuzzRuns(20) },
  )
})
