/** LUNs that were made larger on their server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
const params = { pool: 'san', volume: 'data' }
const lun = {
  capacityBytes: 64 * mib,
  allocatedBytes: 0,
  basePath: undefined,
  folder: '/simulated/192.0.2.1/iqn.2026-11.example:a',
  file: 'lun-1',
}

/** A VM on a LUN of 64 MiB, which its server then makes larger. */
async function openGrown(snapshots: readonly string[]): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  const place = { type: 'iscsi', name: 'san', server: '192.0.2.1', target: 'iqn.2026-11.example:a' }
  await world.call('createPool', { body: newPool.parse(place) })
  world.machine.volumes.set('theirs', lun)
  const body = { name: 'data', file: 'lun-1', format: 'raw' as const, force: false }
  await world.call('importVolume', { params: { pool: 'san' }, body })
  await world.createVm('web1', { disks: [{ name: 'data', ...params }] })
  await world.start('web1')
  for (const name of snapshots)
    await world.call('createSnapshot', {
      params: { name: 'web1' },
      query: { wait: 60 },
      body: { name, description: '', memory: false, quiesce: false },
    })
  for (const [id, volume] of world.machine.volumes)
    if (volume.file === 'lun-1') world.machine.volumes.set(id, { ...volume, capacityBytes: 96 * mib })
  return world
}

function grow(world: SimulatedDaemon) {
  return world.call('resizeVolume', { params, body: { size: 96 * mib, shrink: false } })
}

test('a volume becomes as large as its LUN', async () => {
  await using world = await openGrown([])

  assert.equal((await grow(world)).capacityBytes, 96 * mib)
})

test('what has snapshots on a LUN keeps its size, since what others left there would be seen through them', async () => {
  await using world = await openGrown(['one'])

  await assert.rejects(grow(world), { code: 'in-use', message: /has snapshots on a LUN/ })

  assert.equal((await world.call('getVolume', { params })).capacityBytes, 64 * mib)
})
