import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { simulatedCpuOffer } from '../../simulated/simulated-cpu-offer.ts'
import type { CpuOffer } from './cpu-offer.ts'
import { isPlainCpu, requireOffered } from './judge-cpu.ts'

const tcg = simulatedCpuOffer('tcg')
const kvm = simulatedCpuOffer('kvm')

function judge(cpu: VmSpecInput['cpu'], offer: CpuOffer = tcg): string {
  try {
    requireOffered('web1', vmSpec.parse({ cpu }).cpu, offer)
    return 'offered'
  } catch (error) {
    assert.ok(error instanceof KvasirError)
    return `${error.code}: ${error.message}`
  }
}

test("a VM with the host's own CPU has nothing to be judged", () => {
  const isPlain = (cpu: VmSpecInput['cpu']) => isPlainCpu(vmSpec.parse({ cpu }).cpu)

  assert.ok(isPlain({}))
  assert.ok(isPlain({ model: 'host', nested: false }))
  assert.equal(isPlain({ model: 'x86-64-v2' }), false)
  assert.equal(isPlain({ features: { aes: false } }), false)
  assert.equal(isPlain({ nested: true }), false)
})

test('a model and flags that the host has are offered', () => {
  assert.equal(judge({ model: 'EPYC-v4', features: { aes: true, pcid: true } }), 'offered')
  assert.equal(judge({ model: 'x86-64-v3' }), 'offered')
  assert.match(judge({ features: { sse4_1: true } }), /Did you mean sse4\.1 or sse4\.2\?$/)
})

test('a model of which the host lacks flags is refused, and the flags are named', () => {
  assert.match(
    judge({ model: 'Skylake-Server-v4' }),
    /^unsupported: .*Skylake-Server-v4 under TCG: it lacks the flags avx512bw, avx512cd, avx512dq, avx512f, avx512vl, /,
  )
  assert.match(judge({ model: 'x86-64-v4' }, kvm), /^unsupported: .*under KVM: it lacks the flags avx512bw, /)
})

test('a flag that is switched off is not lacking', () => {
  const features = { avx512bw: false, avx512cd: false, avx512dq: false, avx512f: false, avx512vl: false }

  assert.equal(judge({ model: 'Skylake-Server-v4', features }), 'offered')
  const { avx512vl: _, ...allButOne } = features
  assert.match(judge({ model: 'Skylake-Server-v4', features: allButOne }), /lacks the flag avx512vl, /)
})

test('a flag that is switched on and that the host lacks is refused whatever the model', () => {
  assert.match(judge({ features: { avx512f: true } }), /it lacks the flag avx512f, .*Take these flags out/)
})

test('a switch of QEMU itself can always be set', () => {
  assert.equal(judge({ features: { pmu: true, 'hv-relaxed': true } }), 'offered')
})

test('an unknown flag and an unknown model are refused with those that were meant', () => {
  assert.match(
    judge({ features: { avx51f: true } }),
    /^bad-request: .*no CPU flag avx51f.*Did you mean avx512f/,
  )
  assert.match(judge({ features: { realized: false } }), /^bad-request: .*no CPU flag realized/)
  assert.match(judge({ model: 'EPIC-v4' }), /^unsupported: .*no CPU model EPIC-v4.*Did you mean EPYC-v4\?/)
  assert.match(judge({ model: 'x86-64-v5' }), /Did you mean x86-64-v2 or x86-64-v3 or x86-64-v4\?/)
  assert.doesNotMatch(judge({ model: 'Z80' }), /Did you mean/)
})

test('nested virtualization is refused with the parameter that forbids it and how to change it', () => {
  const off: CpuOffer = {
    ...kvm,
    flags: { ...kvm.flags, svm: false },
    nested: { module: 'kvm_amd', isOn: false },
  }

  assert.equal(judge({ nested: true }), 'offered')
  assert.equal(judge({ nested: true }, kvm), 'offered')
  assert.match(
    judge({ nested: true }, off),
    /^unsupported: VM web1 .*parameter nested of kvm_amd is off .*modprobe -r kvm_amd && modprobe kvm_amd nested=1/,
  )
  assert.match(judge({ nested: true }, { ...off, nested: undefined }), /KVM offers guests no svm here/)
})

test('flags at odds with nested virtualization are refused', () => {
  assert.match(
    judge({ nested: false, features: { svm: true } }),
    /^bad-request: .*cpu\.nested false and the CPU flag svm on/,
  )
  assert.match(judge({ nested: true, features: { svm: false } }), /^bad-request: /)
  assert.equal(judge({ nested: false, features: { svm: false } }), 'offered')
})
