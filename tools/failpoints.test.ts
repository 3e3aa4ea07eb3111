import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failpointViolations } from './failpoints.ts'

const table = 'packages/daemon/src/ports/failpoints.ts'

/** What the rule says of a table and a file of the daemon. */
function found(registered: string, reaching: string): readonly string[] {
  return failpointViolations([
    { path: table, text: registered },
    { path: 'packages/daemon/src/services/a.ts', text: reaching },
    { path: 'packages/daemon/src/services/a.test.ts', text: `'vm.test.before-end'` },
  ]).map(({ path, line, rule }) => `${path.split('/').at(-1) ?? ''}:${line}: ${rule}`)
}

test('failpoints that are registered once and reached are as they should be', () => {
  assert.deepEqual(
    found(
      `'vm.start.before-intent',\n'pool.make.after-row',`,
      `f('pool.make.after-row')\nf('vm.start.before-intent')`,
    ),
    [],
  )
})

test('a planted violation is caught: a failpoint that is registered twice, reached nowhere, not registered', () => {
  assert.deepEqual(
    found(`'vm.start.before-intent',\n'vm.start.before-intent',`, `f('vm.start.before-intent')`),
    ['failpoints.ts:2: failpoint vm.start.before-intent is registered twice'],
  )
  assert.deepEqual(found(`'vm.start.before-intent',`, ''), [
    'failpoints.ts:1: failpoint vm.start.before-intent is reached nowhere',
  ])
  assert.deepEqual(found('', `\nf('vm.start.before-intent')`), [
    'a.ts:2: failpoint vm.start.before-intent is not registered',
  ])
})
