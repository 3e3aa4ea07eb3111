import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { reportOfBalloon, reportOfMemInfo } from './guest-memory.ts'

const unset = 2 ** 64

test('what a balloon driver reports is told, and what it does not have is left out', () => {
  const stats = {
    'stat-total-memory': 1_000_000_000,
    'stat-available-memory': 600_000_000,
    'stat-free-memory': 200_000_000,
    'stat-disk-caches': unset,
    'stat-htlb-pgalloc': unset,
    'stat-swap-in': 0,
    'stat-swap-out': 4096,
    'stat-major-faults': 12,
  }

  assert.deepEqual(reportOfBalloon({ 'last-update': 1_700_000_000, stats }), {
    source: 'balloon',
    at: '2023-11-14T22:13:20.000Z',
    totalBytes: 1_000_000_000,
    availableBytes: 600_000_000,
    freeBytes: 200_000_000,
    cachesBytes: undefined,
    swappedInBytes: 0,
    swappedOutBytes: 4096,
    majorFaults: 12,
  })
})

test('a guest that has not reported, and an answer that is none, give no report', () => {
  assert.equal(reportOfBalloon({ 'last-update': 0, stats: { 'stat-total-memory': unset } }), undefined)
  fc.assert(
    fc.property(fc.anything(), (answer) => {
      assert.doesNotThrow(() => reportOfBalloon(answer))
    }),
  )
})

test('a /proc/meminfo of a guest is read, and text that is none gives no numbers', () => {
  const text =
    'MemTotal:         999424 kB\nMemFree:           1024 kB\nMemAvailable:     512000 kB\nCached: x kB\n'

  assert.deepEqual(reportOfMemInfo(text), {
    source: 'agent',
    totalBytes: 999_424 * 1024,
    availableBytes: 512_000 * 1024,
    freeBytes: 1024 * 1024,
    cachesBytes: undefined,
  })
  fc.assert(
    fc.property(fc.string(), (garbage) => {
      assert.equal(reportOfMemInfo(garbage).totalBytes, undefined)
    }),
  )
})
