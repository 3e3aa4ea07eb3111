/** Wiping volumes, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newVolume } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
const data = { pool: 'default', volume: 'data' }

async function openWithContents(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  const body = newVolume.parse({ name: 'data', size: 2 ** 30 })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  const [id = ''] = world.machine.volumes.keys()
  const blocks = [0, 7, 511, 262_143].map((index) => [index, new Uint8Array(4096).fill(index + 1)] as const)
  world.machine.contents.set(id, new Map(blocks))
  return world
}

const wipe = (world: SimulatedDaemon, method: 'zero' | 'discard' = 'zero') =>
  world.call('wipeVolume', { params: data, query: { wait: 10 }, body: { method } })

test('what was written is overwritten and given back, and the volume is as large as before', async () => {
  await using world = await openWithContents()

  const job = await wipe(world)

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.equal(job.outcome, '16 KiB were overwritten; the volume is empty.')
  assert.deepEqual(
    [...world.machine.contents.values()].map(({ size }) => size),
    [0],
  )
  assert.equal((await world.call('getVolume', { params: data })).capacityBytes, 1024 * mib)
})

test('a discard overwrites nothing', async () => {
  await using world = await openWithContents()

  assert.equal((await wipe(world, 'discard')).outcome, 'The volume is empty.')
  assert.deepEqual(
    [...world.machine.contents.values()].map(({ size }) => size),
    [0],
  )
})

test('a volume that a VM has, or others are based on, is not wiped, and who that is is named', async () => {
  await using world = await openWithContents()
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })

  await assert.rejects(wipe(world), { code: 'in-use', message: /VM web1/ })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: false } })
  const body = { name: 'copy', mode: 'linked' as const }
  await world.call('cloneVolume', { params: data, query: { wait: 10 }, body })
  const base = { pool: 'default', volume: 'data.base' }
  await assert.rejects(
    world.call('wipeVolume', { params: base, query: { wait: 10 }, body: { method: 'zero' } }),
    { code: 'in-use' },
  )
  assert.equal((await wipe(world)).state, 'succeeded')
})

test('a wipe that is under way when the daemon is killed can be done again', async () => {
  const world = await openWithContents()
  const [id = ''] = world.machine.volumes.keys()
  const { store } = world.daemon.context.ports
  const row = store.volumes.get(id)
  assert.ok(row)
  store.volumes.update({ ...row, work: 'wiped' })

  await using next = await world.killAndFollow()

  assert.equal((await wipe(next)).state, 'succeeded')
})
