import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { readSources } from './sources.ts'

const root = join(import.meta.dirname, '..')
const table = 'packages/daemon/src/ports/failpoints.ts'
const name = /'([a-z]+(?:\.[a-z]+)*\.(?:before|after)-[a-z-]+)'/g

/** The names of failpoints in a text, each as often as it is there. */
function namesIn(text: string): readonly string[] {
  return [...text.matchAll(name)].map((match) => match[1] ?? '')
}

test('every registered failpoint is reached somewhere, and every reached one is registered', () => {
  const sources = readSources(root).filter(({ path }) =>
    /^packages\/daemon\/src\/.*(?<!\.test)\.ts$/.test(path),
  )
  const registered = namesIn(sources.find(({ path }) => path === table)?.text ?? '')
  const reached = new Set(sources.filter(({ path }) => path !== table).flatMap(({ text }) => namesIn(text)))

  assert.ok(registered.length > 40, 'The table was not found, so nothing was checked.')
  assert.deepEqual(registered.length, new Set(registered).size, 'No name is registered twice.')
  assert.deepEqual([...new Set(registered).difference(reached)], [], 'Registered, and reached nowhere.')
  assert.deepEqual([...reached.difference(new Set(registered))], [], 'Reached, and not registered.')
})
