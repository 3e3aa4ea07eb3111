import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseRounds, crashShareOf, servedRounds } from './crash-share.ts'

const operations = Array.from({ length: 40 }, (_, index) => `operation ${index}`)
const played = (share: { oneOf: number; turn: string }) => {
  const choose = chooseRounds(share)
  return operations.filter((operation) => choose(operation, 'vm.start.resumed', 'exit'))
}

test('all rounds are played when no share is named', () => {
  assert.deepEqual(crashShareOf({}), { oneOf: 1, turn: '' })
  assert.deepEqual(played(crashShareOf({})), operations)
})

test('a share has the first kill at each failpoint, some of the others, and others in another turn', () => {
  const one = played({ oneOf: 4, turn: 'one' })
  const other = played({ oneOf: 4, turn: 'other' })

  assert.equal(one[0], operations[0])
  assert.equal(other[0], operations[0])
  assert.ok(one.length > 3 && one.length < 20, String(one.length))
  assert.notDeepEqual(one, other)
  assert.deepEqual(played({ oneOf: 4, turn: 'one' }), one)
})

test('every failpoint kills once, and a step that fails is in the share or not', () => {
  const choose = chooseRounds({ oneOf: 1_000_000, turn: '' })

  assert.deepEqual(
    [
      choose('create', 'a', 'exit'),
      choose('clone', 'a', 'exit'),
      choose('clone', 'a', 'throw'),
      choose('clone', 'b', 'exit'),
    ],
    [true, false, false, true],
  )
})

test('a share that is no number is refused', () => {
  for (const share of ['0', '1.5', 'half', '-2'])
    assert.throws(() => crashShareOf({ KVASIR_CRASH_SHARE: share }), /KVASIR_CRASH_SHARE/)
})

test('a run that plays a share plays rounds on one backend, another one for other commits', () => {
  const turns = ['8684333', '134bb05', '0e7ac57', 'd9264eb', '6d5f39a', '4cd66a0', 'fa11782', 'b6fb21c']
  const played = turns.map((turn) => {
    const environment = { KVASIR_CRASH_SHARE: '3', KVASIR_TURN: turn }
    return [servedRounds(environment, 0), servedRounds(environment, 1)]
  })

  for (const [one = 0, other = 0] of played) {
    assert.equal(Math.min(one, other), 0)
    assert.ok(Math.max(one, other) > 0)
  }
  assert.ok(played.some(([one]) => one === 0) && played.some(([one]) => one !== 0))
})

test('without a share every backend has its rounds, and as many as were asked for', () => {
  for (const place of [0, 1] as const) {
    assert.ok(servedRounds({}, place) > 3)
    assert.equal(servedRounds({ KVASIR_CRASH_ROUNDS: '400', KVASIR_CRASH_SHARE: '3' }, place), 400)
  }
})
