import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { requireShape } from './vcpu-shape.ts'

function shape(cpu: VmSpecInput['cpu'], machine: VmSpecInput['machine'] = {}) {
  return requireShape('web1', vmSpec.parse({ cpu, machine }))
}

function refusal(cpu: VmSpecInput['cpu'], machine?: VmSpecInput['machine']): string {
  try {
    shape(cpu, machine)
  } catch (error) {
    assert.ok(error instanceof KvasirError)
    return `${error.code}: ${error.message}`
  }
  return assert.fail('nothing was refused')
}

test('without a maximum there are as many vCPUs as the count says, each a core of one socket', () => {
  assert.deepEqual(shape({ count: 3 }), { count: 3, max: 3, sockets: 1, dies: 1, cores: 3, threads: 1 })
})

test('a topology is that of the maximum, and the count may be anything up to it', () => {
  const topology = { sockets: 2, dies: 1, cores: 2, threads: 2 }

  assert.deepEqual(shape({ count: 3, max: 8, topology }), { count: 3, max: 8, ...topology })
  assert.deepEqual(shape({ count: 8, max: 8, topology }), { count: 8, max: 8, ...topology })
})

test('a count above the maximum is refused with both numbers', () => {
  assert.match(refusal({ count: 9, max: 8 }), /^bad-request: VM web1 cannot have 9 vCPUs, .*cpu\.max is 8/)
})

test('a topology of another product is refused with the sum and what it should have been', () => {
  const topology = { cores: 2, threads: 2 }

  assert.match(refusal({ count: 2, topology }), /makes 4 vCPUs .*1 sockets x .* but its count is 2/)
  assert.match(refusal({ count: 4, max: 8, topology }), /makes 4 vCPUs .* but its cpu\.max is 8/)
})

test('a microvm plugs no vCPUs and knows no dies', () => {
  const microvm = { type: 'microvm' } as const

  assert.match(refusal({ count: 1, max: 2 }, microvm), /^unsupported: The machine microvm plugs no vCPUs/)
  assert.match(refusal({ count: 2, topology: { dies: 2 } }, microvm), /^unsupported: .*no dies/)
  assert.equal(shape({ count: 2, max: 2 }, microvm).max, 2)
})
