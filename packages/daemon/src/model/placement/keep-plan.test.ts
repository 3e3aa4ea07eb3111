import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keepOrPlan } from './keep-plan.ts'
import type { Holding } from './occupancy.ts'
import type { PlacementRequest } from './request.ts'
import { gib, regularHost } from './testing/hosts.ts'

const epyc = regularHost({ nodes: 2, l3: 4, cores: 4, threads: 2 })
const request: PlacementRequest = {
  vm: 'db1',
  placement: 'dedicated',
  numa: 'auto',
  vcpus: 4,
  memoryBytes: 4 * gib,
  ioThreads: ['root'],
  devices: [],
}

function holder(vm: string, dedicated: readonly number[]): Holding {
  return { vm, dedicated, shared: [], helpers: [], memory: [] }
}

test('a stored plan is taken again, unless the host changed or somebody has its CPUs', () => {
  const host = { topology: epyc, holdings: [] }
  const { decision, basis } = keepOrPlan(request, host, undefined)
  assert.equal(decision.kind, 'placed')
  if (decision.kind !== 'placed') return
  const stored = { plan: decision.plan, basis }
  const offline = { ...epyc, cores: epyc.cores.filter(({ core }) => core !== 1) }

  assert.equal(keepOrPlan(request, { ...host, holdings: [holder('b', [4])] }, stored).kept, true)
  assert.equal(keepOrPlan(request, { ...host, holdings: [holder('b', [33])] }, stored).kept, false)
  assert.equal(keepOrPlan(request, { ...host, topology: offline }, stored).kept, false)
  assert.equal(keepOrPlan({ ...request, vcpus: 6 }, host, stored).kept, false)
})
