import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Vm, type VmSpecInput, vm, vmSpec } from '@kvasir/contract'
import { describeCpu } from './describe-cpu.ts'

const at = '2026-11-21T10:00:00Z'

function describe(cpu: VmSpecInput['cpu'], status: Partial<Vm['status']> = {}): string {
  return describeCpu(
    vm.parse({
      name: 'web1',
      uuid: '0190a2b0-0000-7000-8000-000000000001',
      revision: 1,
      createdAt: at,
      spec: vmSpec.parse({ cpu }),
      status: { state: 'shutoff', reason: 'x', since: at, ...status },
    }),
  )
}

test('a VM that is off shows what it will be started with', () => {
  assert.equal(describe({}), '1 vCPU, model auto')
  assert.equal(
    describe({ count: 2, max: 8, model: 'x86-64-v3', topology: { sockets: 2, cores: 2, threads: 2 } }),
    '2 of at most 8 vCPUs, 2 sockets x 2 cores x 2 threads, model x86-64-v3',
  )
  assert.equal(
    describe({ model: 'EPYC', features: { aes: true, pcid: false }, nested: false }),
    '1 vCPU, model EPYC, +aes, -pcid, nested virtualization off',
  )
})

test('a VM that runs shows what it has, and what it was to have', () => {
  const used = [{ index: 0, threadId: 7, cpuSeconds: 1.25 }]

  assert.equal(
    describe({ count: 2, max: 4 }, { cpu: { model: 'max', count: 2, max: 4 }, vcpus: used }),
    '2 of at most 4 vCPUs, model max (auto), 1.3 s used',
  )
  assert.equal(
    describe({ count: 1, max: 4 }, { cpu: { model: 'host', count: 3, max: 4 } }),
    '3 of at most 4 vCPUs (1 wanted), model host (auto)',
  )
})
