import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskThrottle, sharesLimits } from './disk-throttle.ts'

test('limits are read as sizes and numbers, with bursts above them', () => {
  const limits = { iops: 100, bytesRead: '10MiB', burst: { iops: 1000 }, burstSeconds: 5 }

  assert.equal(diskThrottle.parse(limits).bytesRead, 10 * 2 ** 20)
})

for (const [what, limits] of [
  ['nothing', {}],
  ['a group alone', { group: 'slow' }],
  ['all and reads', { iops: 100, iopsRead: 50 }],
  ['a burst of all and of reads', { iops: 100, burst: { iops: 200, iopsRead: 200 } }],
  ['a burst below its limit', { bytes: '10MiB', burst: { bytes: '1MiB' } }],
  ['a burst of what is not limited', { bytes: '10MiB', burst: { iops: 10 } }],
  ['a length without a burst', { bytes: '10MiB', burstSeconds: 5 }],
  ['zero', { iops: 0 }],
  ['more than QEMU counts', { iops: 2e15 }],
  ['a part of a request', { iops: 1.5 }],
  ['a name that is not there', { bps: 5 }],
] as const) {
  test(`${what} is refused`, () => {
    assert.equal(diskThrottle.safeParse(limits).success, false)
  })
}

test('disks of one group say the same limits, in whatever order', () => {
  const one = { throttle: { group: 'slow', iops: 5, bytes: 7 } }
  const same = { throttle: { bytes: 7, iops: 5, group: 'slow' } }
  const other = { throttle: { group: 'slow', iops: 6, bytes: 7 } }

  assert.ok(sharesLimits([one, {}, same, { throttle: { iops: 6 } }]))
  assert.ok(!sharesLimits([one, other]))
})
