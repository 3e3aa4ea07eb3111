import assert from 'node:assert/strict'
import { test } from 'node:test'
import { localTime, timeAndAge } from './time.ts'

test('a time is shown as the local clock had it, without milliseconds', () => {
  const local = new Date(2026, 10, 1, 9, 5, 7, 250)

  assert.equal(localTime(local.toISOString()), '2026-11-01 09:05:07')
  assert.equal(localTime('nonsense'), 'nonsense')
})

test('an age has one unit, the largest that fits', () => {
  const now = Date.parse('2026-11-21T12:00:00Z')
  const ages = [
    ['2026-11-21T11:59:59.5Z', '0 s'],
    ['2026-11-21T11:59:01Z', '59 s'],
    ['2026-11-21T11:55:00Z', '5 min'],
    ['2026-11-21T03:00:00Z', '9 h'],
    ['2026-11-01T12:00:00Z', '20 d'],
  ] as const

  for (const [at, shown] of ages) assert.ok(timeAndAge(at, now).endsWith(`, ${shown} ago`), at)
  assert.equal(timeAndAge('2026-11-21T13:00:00Z', now), localTime('2026-11-21T13:00:00Z'))
})
