import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deserialize, serialize } from 'node:v8'
import { tellWholeError } from './whole-error.ts'

/** What the runner reads of an error that a test threw. */
function told(thrown: unknown): Error {
  const failure = new Error('A test failed.', { cause: thrown })
  tellWholeError(failure)
  const cause: unknown = deserialize(serialize(failure.cause))
  assert.ok(cause instanceof Error)
  return cause
}

test('both errors of a disposal are told, and all that they hold, with their stacks', () => {
  const own = Object.assign(new Error('own', { cause: new RangeError('deep') }), { code: 'busy' })
  const disposals = new AggregateError([new TypeError('one'), 'two'], 'not taken away')

  const { message, stack } = told(new SuppressedError(disposals, own, 'suppressed'))

  assert.equal(message, 'suppressed')
  const parts = String(stack)
    .split('\n')
    .filter((line) => !line.includes(' at '))
  assert.deepEqual(parts, [
    'SuppressedError: suppressed',
    '  [thrown first] Error: own',
    "    { code: 'busy' }",
    '    [cause] RangeError: deep',
    '  [thrown while that was handled] AggregateError: not taken away',
    '    [1 of 2] TypeError: one',
    "    [2 of 2] 'two'",
  ])
  assert.equal(String(stack).match(/at .*whole-error\.test\.ts/g)?.length, 5)
})

test('an error that holds itself is told once', () => {
  const error = new Error('mine')
  error.cause = error

  assert.match(String(told(error).stack), /\[cause\] Error: mine \(told above\)$/)
})

test('an error that holds nothing stays what it is', () => {
  const failure = new Error('A test failed.', { cause: new assert.AssertionError({ message: 'own' }) })
  const { cause } = failure

  tellWholeError(failure)

  assert.equal(failure.cause, cause)
})
