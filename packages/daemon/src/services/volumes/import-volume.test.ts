/** What is not taken as a volume, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const gib = 2 ** 30
const path = '/srv/fast'
const fast = { params: { pool: 'fast' } }

async function openWithPool(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path }) })
  return world
}

test('a file that has another name as well is not taken, since who uses that one would write to it too', async () => {
  await using world = await openWithPool()
  const there = { capacityBytes: gib, allocatedBytes: 1, basePath: undefined, folder: path, names: 2 }
  world.machine.volumes.set('other', { ...there, file: 'other.img' })
  const body = { name: 'old', file: 'other.img', format: 'raw' as const, force: true }

  await assert.rejects(
    world.call('importVolume', { params: { pool: 'fast' }, body }),
    /2 names \(hard links\)/,
  )

  assert.match((await world.call('refreshPool', fast)).findings?.[0]?.detail ?? '', /another name/)
})

test('what a daemon died over before it was a volume is given back as it was, and can be imported then', async () => {
  const { promise: isThere, resolve: arrive } = Promise.withResolvers<void>()
  const world = await openSimulatedDaemon({
    failpoint: async (name) => {
      if (name !== 'volume.import.after-take') return
      arrive()
      await new Promise(() => {})
    },
  })
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path }) })
  const there = { capacityBytes: gib, allocatedBytes: 1, basePath: undefined, folder: path }
  world.machine.volumes.set('other', { ...there, file: 'other.img' })
  const body = { name: 'old', file: 'other.img', format: 'raw' as const, force: true }
  void world.call('importVolume', { params: { pool: 'fast' }, body }).catch(() => {})
  await isThere
  assert.ok(!world.machine.volumes.has('other'))

  await using next = await world.killAndFollow()

  await eventually(async () => next.machine.volumes.has('other'), 'it is as it was')
  await next.call('importVolume', { params: { pool: 'fast' }, body })
  await using last = await next.killAndFollow()
  assert.equal((await last.call('getVolume', { params: { pool: 'fast', volume: 'old' } })).name, 'old')
  assert.ok(!last.machine.volumes.has('other'))
})
