import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { type AcceleratorFacts, decideAccelerator, isProbeNeeded } from './accelerator.ts'

const good: AcceleratorFacts = {
  cpuFlags: ['fpu', 'vmx'],
  kvmDevice: 'usable',
  probe: { present: true, enabled: true },
}

test('KVM is chosen only with the flag, the device and an answer of a probe emulator', () => {
  assert.deepEqual(decideAccelerator('auto', good), {
    kind: 'kvm',
    reason: 'the CPU has vmx and KVM answered',
  })
  assert.equal(decideAccelerator('kvm', { ...good, cpuFlags: ['svm'] }).kind, 'kvm')
})

const obstacles: readonly (readonly [string, Partial<AcceleratorFacts>, RegExp])[] = [
  ['a CPU without vmx and svm, although /dev/kvm opens', { cpuFlags: ['fpu'] }, /neither vmx nor svm/],
  ['nothing at all', { cpuFlags: [], kvmDevice: 'missing' }, /there is no \/dev\/kvm/],
  ['no device', { kvmDevice: 'missing' }, /there is no \/dev\/kvm/],
  ['a closed device', { kvmDevice: 'denied' }, /does not open/],
  ['no probe', { probe: 'not-run' }, /no probe emulator/],
  ['a probe that dies', { probe: 'failed' }, /did not answer/],
  ['a QEMU without KVM', { probe: { present: false, enabled: false } }, /without KVM/],
  ['a probe that fell back', { probe: { present: true, enabled: false } }, /not enabled/],
]

for (const [what, change, reason] of obstacles) {
  test(`with ${what}, auto falls back to TCG with the reason, and kvm is refused with it`, () => {
    const facts = { ...good, ...change }

    const choice = decideAccelerator('auto', facts)

    assert.equal(choice.kind, 'tcg')
    assert.match(choice.reason, reason)
    assert.throws(
      () => decideAccelerator('kvm', facts),
      (error) =>
        error instanceof KvasirError &&
        error.code === 'accelerator-unavailable' &&
        reason.test(error.message),
    )
  })
}

test('TCG by request needs no facts', () => {
  assert.deepEqual(decideAccelerator('tcg', good), { kind: 'tcg', reason: 'the spec asks for TCG' })
})

test('a probe is started only where its answer can matter', () => {
  assert.equal(isProbeNeeded(good), true)
  assert.equal(isProbeNeeded({ ...good, cpuFlags: [] }), false)
  assert.equal(isProbeNeeded({ ...good, kvmDevice: 'denied' }), false)
})
