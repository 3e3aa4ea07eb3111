/** What is not taken as a volume, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

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
