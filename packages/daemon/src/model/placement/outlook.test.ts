import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mapHost } from './host-map.ts'
import { occupancyOf } from './occupancy.ts'
import { type Outlook, outlookOf } from './outlook.ts'
import { regularHost } from './testing/hosts.ts'

/** One node of 2 L3 domains of 4 cores with 2 threads; CPUs 0-7 are first threads, and core 0 is the host's. */
const topology = regularHost({ nodes: 1, l3: 2, cores: 4, threads: 2 })

function outlook(dedicated: Readonly<Record<string, readonly number[]>>): Outlook {
  const holdings = Object.entries(dedicated).map(([vm, cpus]) => ({
    vm,
    dedicated: cpus,
    shared: [],
    helpers: [],
    memory: [],
  }))
  return outlookOf({
    map: mapHost(topology),
    occupancy: occupancyOf(holdings),
    mode: 'dedicated',
    perThread: 1,
  })
}

const taken = (l3: number, count: number) => [{ domain: { node: 0, l3: String(l3) }, count }]

test('on an empty host nobody is crowded out', () => {
  assert.equal(outlook({}).crowdedAfter([]), 0)
})

test('what breaks the last whole domain costs those that would fill it', () => {
  const empty = outlook({})

  // Of the sizes 1, 2, 4, 8 and 16 the one of 8 has room then, but in no domain; 16 has none at all.
  assert.equal(empty.crowdedAfter(taken(1, 1)), 1 / 5)
  assert.equal(empty.crowdedAfter(taken(0, 1)), 0)
})

test('the sizes of the VMs that are here count, and so does that each of them may go', () => {
  const here = outlook({ a: [4, 12, 5, 13] })

  // 8 is crowded out, and 4 is here twice as often as the others; once a is gone, all fit.
  const now = 1 / 6
  assert.equal(here.crowdedAfter([]), (2 * now + 0) / 3)
})
