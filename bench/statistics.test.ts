import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quantile, summarize } from './statistics.ts'

test('a median is the middle of the order, or the mean of the two middles', () => {
  assert.equal(summarize([30, 10, 20]).median, 20)
  assert.equal(summarize([40, 10, 20, 30]).median, 25)
})

test('one disturbance moves the median by one place', () => {
  assert.equal(summarize([10, 11, 12, 13, 10_000]).median, 12)
})

test('quantiles lie between their neighbours', () => {
  assert.equal(quantile([0, 100], 0.99), 99)
  assert.equal(quantile([7], 0.99), 7)
})

test('nothing is said of nothing', () => {
  assert.throws(() => summarize([]), RangeError)
})
