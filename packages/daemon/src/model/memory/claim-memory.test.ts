import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Claimant, claimMemory } from './claim-memory.ts'

const gib = 2 ** 30
const emulator = 64 * 2 ** 20

function vm(change: Partial<Claimant> = {}): Claimant {
  const held = { residentBytes: gib, swappedBytes: 0 }
  const plain = { hasBytes: 4 * gib, balloonBytes: 4 * gib, maximumBytes: 4 * gib, capBytes: undefined }
  return { ...plain, held, isHeld: false, isTranslated: false, ...change }
}

const supply = { totalBytes: 16 * gib, availableBytes: 10 * gib, swapFreeBytes: 2 * gib, ksmSavedBytes: 0 }

test('what guests have not touched yet can still be claimed, and so can what KSM saves', () => {
  const { claim, overcommit, vms } = claimMemory([vm(), vm()], { ...supply, ksmSavedBytes: gib })

  assert.equal(claim.claimableBytes, 2 * (3 * gib + emulator) + gib)
  assert.equal(claim.verdict, 'fits')
  assert.equal(claim.shortBytes, 0)
  assert.equal(overcommit, 0.5)
  assert.equal(vms.residentBytes, 2 * gib)
})

test('a balloon frees memory now and claims it again in want', () => {
  const { claim, vms } = claimMemory([vm({ balloonBytes: gib })], supply)

  assert.equal(vms.balloonBytes, gib)
  assert.equal(claim.claimableBytes, 3 * gib + emulator)
})

test('more than is available goes to swap, and more than that is short', () => {
  const swaps = claimMemory([vm(), vm(), vm(), vm({ hasBytes: 2.5 * gib })], supply)
  assert.equal(swaps.claim.verdict, 'swaps')

  const short = claimMemory([vm(), vm(), vm(), vm(), vm()], supply)
  assert.equal(short.claim.verdict, 'short')
  assert.equal(short.claim.shortBytes, 5 * (3 * gib + emulator) - 12 * gib)
  assert.equal(short.overcommit, 1.25)
})

test('a VM claims no more than its cgroup lets it have, nothing where all is taken, and all where it does not answer', () => {
  const claimed = (one: Claimant) => claimMemory([one], supply).claim.claimableBytes

  assert.equal(claimed(vm({ capBytes: 2 * gib })), gib)
  assert.equal(claimed(vm({ isHeld: true })), 0)
  assert.equal(claimed(vm({ isTranslated: true })), 3 * gib + 5 * emulator)
  assert.equal(claimed(vm({ held: undefined })), 4 * gib + emulator)
  assert.equal(claimMemory([vm({ held: undefined })], supply).vms.unanswered, 1)
})

test('a host without VMs claims nothing', () => {
  assert.deepEqual(claimMemory([], supply).claim.verdict, 'fits')
  assert.equal(claimMemory([], { ...supply, totalBytes: 0 }).overcommit, 0)
})
