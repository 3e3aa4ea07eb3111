/** Pools as a resource, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool, newVolume } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const gib = 2 ** 30
const path = '/srv/fast'
const fast = { params: { pool: 'fast' } }

async function openWithPool(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await create(world, 'fast', path)
  return world
}

function create(world: SimulatedDaemon, name: string, folder: string) {
  return world.call('createPool', { body: newPool.parse({ type: 'dir', name, path: folder }) })
}

function createVolume(world: SimulatedDaemon, pool: string, name: string) {
  return world.call('createVolume', { params: { pool }, body: newVolume.parse({ name, size: gib }) })
}

test('every daemon has the pool default, which is neither stopped nor deleted', async () => {
  await using world = await openSimulatedDaemon()

  assert.deepEqual(
    (await world.call('listPools', {})).map(({ name }) => name),
    ['default'],
  )
  const params = { pool: 'default' }
  await assert.rejects(world.call('stopPool', { params }), { code: 'in-use' })
  await assert.rejects(world.call('deletePool', { params, query: { data: 'keep' } }), { code: 'in-use' })
})

test('a volume’s name is its pool’s: two pools have one of the same name, and two VMs take them', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'default', 'data')
  await createVolume(world, 'fast', 'data')

  await assert.rejects(createVolume(world, 'fast', 'data'), { code: 'name-taken' })
  const disks = (pool: string) => ({ disks: [{ name: 'data', pool, volume: 'data' }] })
  await world.createVm('web1', disks('default'))
  await world.createVm('web2', disks('fast'))

  await assert.rejects(world.createVm('web3', disks('fast')), { code: 'in-use' })
  const { usedBy } = await world.call('getVolume', { params: { pool: 'fast', volume: 'data' } })
  assert.deepEqual(usedBy, ['web2'])
  await assert.rejects(world.createVm('web4', { disks: [{ name: 'data', pool: 'no', size: gib }] }), {
    code: 'pool-not-found',
  })
})

test('a new disk is made in the pool that its spec names, and a clone of it too', async () => {
  await using world = await openWithPool()
  await world.createVm('web1', { disks: [{ name: 'root', pool: 'fast', size: gib }] })

  const job = await world.call('cloneVm', {
    params: { name: 'web1' },
    query: { wait: 10 },
    body: { name: 'web2', mode: 'linked' },
  })

  assert.equal(job.state, 'succeeded')
  const volumes = await world.call('listPoolVolumes', fast)
  assert.deepEqual(volumes.map(({ name }) => name).toSorted(), ['web1-root', 'web1-root.base', 'web2-root'])
})

test('two pools are not made in one folder, nor one in the other', async () => {
  await using world = await openWithPool()

  await assert.rejects(create(world, 'other', path), { code: 'pool-refused' })
  await assert.rejects(create(world, 'other', `${path}/below`), { code: 'pool-refused' })
  await assert.rejects(create(world, 'other', '/srv'), { code: 'pool-refused' })
  await assert.rejects(create(world, 'other', '/etc/disks'), { code: 'pool-refused' })
  await assert.rejects(create(world, 'fast', '/srv/other'), { code: 'name-taken' })
  await create(world, 'other', '/srv/fast2')
})

test('a pool that hangs is unreachable, its VMs say so, and everything else goes on', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'fast', 'data')
  await world.createVm('web1', { disks: [{ name: 'data', pool: 'fast', volume: 'data' }] })

  world.machine.hungFolders.add(path)
  const { allocatedBytes } = await world.call('getVolume', { params: { pool: 'fast', volume: 'data' } })

  assert.equal(allocatedBytes, undefined)
  assert.equal((await world.call('getPool', fast)).state, 'unreachable')
  assert.deepEqual((await world.vm('web1')).status.poolTrouble, [
    { pool: 'fast', state: 'unreachable', reason: 'it did not answer within 5 s', disks: ['data'] },
  ])
  await assert.rejects(createVolume(world, 'fast', 'more'), { code: 'pool-unreachable' })
  await assert.rejects(world.call('refreshPool', fast), { code: 'pool-unreachable' })
  await createVolume(world, 'default', 'more')

  world.machine.hungFolders.delete(path)
  assert.equal((await world.call('startPool', fast)).state, 'active')
  assert.equal((await world.vm('web1')).status.poolTrouble, undefined)
  await createVolume(world, 'fast', 'more')
})

test('a pool under a running VM is not stopped; a VM on a stopped pool is not started', async () => {
  await using world = await openWithPool()
  await world.createVm('web1', { disks: [{ name: 'root', pool: 'fast', size: gib }] })
  await world.start('web1')

  await assert.rejects(world.call('stopPool', fast), { code: 'in-use' })
  await world.call('powerOffVm', { params: { name: 'web1' } })
  assert.equal((await world.call('stopPool', fast)).state, 'inactive')

  const job = await world.start('web1')
  assert.equal(job.error?.code, 'pool-inactive')
  await assert.rejects(createVolume(world, 'fast', 'more'), { code: 'pool-inactive' })
})

test('what was stopped stays stopped after a restart of the daemon', async () => {
  const first = await openWithPool()
  await first.call('stopPool', fast)

  await using world = await first.killAndFollow()

  assert.equal((await world.call('getPool', fast)).state, 'inactive')
})

test('a refresh tells what is missing and what is foreign, and adopts nothing', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'fast', 'data')
  const [id = ''] = world.machine.volumes.keys()
  world.machine.volumes.delete(id)
  const there = { capacityBytes: 1, allocatedBytes: 1, basePath: undefined, folder: path }
  world.machine.volumes.set('other', { ...there, file: 'other.img' })

  const pool = await world.call('refreshPool', fast)

  assert.deepEqual(
    pool.findings?.map(({ kind, file, volume }) => [kind, volume ?? file]),
    [
      ['missing', 'data'],
      ['foreign', 'other.img'],
    ],
  )
  assert.equal(pool.health, 'bad')
  assert.equal((await world.call('listPoolVolumes', fast)).length, 1)
})

test('a file that lies in a pool becomes a volume when somebody asks for it, once', async () => {
  await using world = await openWithPool()
  const there = { capacityBytes: gib, allocatedBytes: 1, basePath: undefined, folder: path }
  world.machine.volumes.set('other', { ...there, file: 'other.img' })
  const take = (name: string, file = 'other.img') =>
    world.call('importVolume', {
      params: { pool: 'fast' },
      body: { name, file, format: 'raw', force: false },
    })

  await assert.rejects(take('old', 'none.img'), { code: 'file-not-found' })
  assert.equal((await take('old')).path, `${path}/other.img`)
  await assert.rejects(take('again'), { code: 'in-use' })

  assert.deepEqual((await world.call('refreshPool', fast)).findings, [])
})

test('an image of another format is no volume of raw contents, unless that is asked for by force', async () => {
  await using world = await openWithPool()
  const there = { capacityBytes: gib, allocatedBytes: 1, basePath: undefined, folder: path }
  world.machine.volumes.set('other', { ...there, file: 'other.vmdk' })
  world.machine.contents.set('other', new Map([[0, Buffer.from('KDMV'.padEnd(4096, '\0'))]]))
  const take = (force: boolean) =>
    world.call('importVolume', {
      params: { pool: 'fast' },
      body: { name: 'old', file: 'other.vmdk', format: 'raw', force },
    })
  await assert.rejects(take(false), /is a VMDK image and not the contents of a disk.*qemu-img convert/)

  assert.equal((await take(true)).name, 'old')
})

test('nothing is deleted from a pool that does not answer, and what was to go can be used when it does', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'fast', 'data')
  const params = { pool: 'fast', volume: 'data' }
  world.machine.hungFolders.add(path)

  await assert.rejects(world.call('deleteVolume', { params }), { code: 'pool-unreachable' })

  world.machine.hungFolders.clear()
  await world.call('refreshPool', fast)
  await world.call('resizeVolume', { params, body: { size: 2 ** 31, shrink: false } })
  await world.call('deleteVolume', { params })
  assert.equal(world.machine.volumes.size, 0)
})

test('nothing is deleted from a pool that is not started', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'fast', 'data')
  await world.call('stopPool', fast)

  const remove = () => world.call('deleteVolume', { params: { pool: 'fast', volume: 'data' } })

  await assert.rejects(remove(), { code: 'pool-inactive' })
  assert.equal(world.machine.volumes.size, 1)
  await world.call('startPool', fast)
  await remove()
  assert.equal(world.machine.volumes.size, 0)
})

test('a volume of a pool that is known not to answer is not opened by any tool', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'fast', 'data')
  world.machine.hungFolders.add(path)
  const params = { pool: 'fast', volume: 'data' }

  const wiped = await world.call('wipeVolume', { params, query: { wait: 10 }, body: { method: 'zero' } })
  const copied = await world.call('cloneVolume', {
    params,
    query: { wait: 10 },
    body: { name: 'copy', mode: 'full', pool: 'default' },
  })

  assert.deepEqual([wiped.error?.code, copied.error?.code], ['pool-unreachable', 'pool-unreachable'])
})

test('a name is not given again while what had it is being removed, and the refusal says so', async () => {
  await using world = await openSimulatedDaemon({
    async failpoint(name) {
      if (name === 'volume.delete.after-phase') world.machine.hungFolders.add(path)
    },
  })
  await create(world, 'fast', path)
  await createVolume(world, 'fast', 'data')
  const removed = world.call('deleteVolume', { params: { pool: 'fast', volume: 'data' } })
  await assert.rejects(removed, { code: 'pool-unreachable' })
  world.machine.hungFolders.delete(path)

  await assert.rejects(createVolume(world, 'fast', 'data'), /fast\/data is still being removed/)
  await world.call('refreshPool', fast)
  await createVolume(world, 'fast', 'data')
})

test('a deleted pool leaves its volumes or takes them along, and is never taken from under a VM', async () => {
  await using world = await openWithPool()
  await createVolume(world, 'fast', 'data')
  await world.createVm('web1', { disks: [{ name: 'data', pool: 'fast', volume: 'data' }] })
  const remove = (data: 'keep' | 'remove') => world.call('deletePool', { ...fast, query: { data } })

  await assert.rejects(remove('remove'), { code: 'in-use' })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: false } })
  await remove('keep')

  assert.equal(world.machine.volumes.size, 1)
  assert.deepEqual(await world.call('listVolumes', {}), [])
  await create(world, 'fast', path)
  await createVolume(world, 'fast', 'more')
  await remove('remove')
  assert.equal(world.machine.volumes.size, 1)
  assert.equal(world.machine.marks.has(path), false)
})

test('a deletion that was broken off is gone on with, also when the pool is gone by then', async () => {
  let isBroken = true
  await using world = await openSimulatedDaemon({
    async failpoint(name) {
      if (name === 'pool.delete.after-phase' && isBroken) throw new Error('broken off')
    },
  })
  await create(world, 'fast', path)
  await createVolume(world, 'fast', 'data')
  const remove = (data: 'keep' | 'remove') => world.call('deletePool', { ...fast, query: { data } })
  await assert.rejects(remove('remove'), /broken off/)
  world.machine.hungFolders.add(path)
  isBroken = false

  await assert.rejects(remove('remove'), { code: 'pool-unreachable' })
  await assert.rejects(createVolume(world, 'fast', 'more'), { code: 'pool-inactive' })
  await remove('keep')

  assert.equal((await world.call('listPools', {})).length, 1)
})

test('what could not be removed from a pool that hangs is removed when it answers', async () => {
  const first = await openWithPool()
  await createVolume(first, 'fast', 'data')
  const [row] = first.daemon.context.ports.store.volumes.list()
  if (!row) throw new Error('There is no volume.')
  first.daemon.context.ports.store.volumes.update({ ...row, phase: 'creating' })
  first.machine.hungFolders.add(path)

  await using world = await first.killAndFollow()
  assert.equal(world.machine.volumes.size, 1)
  world.machine.hungFolders.delete(path)
  await world.call('startPool', fast)

  await eventually(() => world.machine.volumes.size === 0, 'the volume is gone')
  assert.deepEqual(world.daemon.context.ports.store.volumes.list(), [])
})
