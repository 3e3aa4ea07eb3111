import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CopyBrake } from './copy-brake.ts'

const mib = 2 ** 20

/** What the brake says second by second; each entry is what was copied so far and what is left. */
function over(samples: readonly (readonly [copiedMib: number, leftMib: number])[]) {
  const brake = new CopyBrake()
  return samples.map(([copied, left], index) =>
    brake.next({ atMs: index * 1000, copiedBytes: copied * mib, leftBytes: left * mib }),
  )
}

test('a guest is let write while less and less is left to copy', () => {
  const samples = Array.from({ length: 12 }, (_, second) => [second * 100, 1200 - second * 100] as const)

  assert.ok(over(samples).every((held) => held === undefined))
})

test('a guest that writes as fast as it is copied is held to half of that, and to less as long as that does not help', () => {
  const samples = Array.from({ length: 10 }, (_, second) => [second * 40, 1000] as const)

  const held = over(samples).filter((one) => one !== undefined)

  assert.deepEqual(held, [20 * mib, 10 * mib, 5 * mib])
})

test('a guest is let write while the copying stands still', () => {
  const samples = Array.from({ length: 20 }, () => [10, 100] as const)

  assert.ok(over(samples).every((held) => held === undefined))
})

test('no guest is held to nothing', () => {
  const samples = Array.from({ length: 100 }, (_, second) => [second, 10 + second] as const)

  const held = over(samples).filter((one) => one !== undefined)

  assert.equal(held.at(-1), 128 * 1024)
})
