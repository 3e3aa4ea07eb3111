/** What is done to volumes, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool, newVolume, type VmSpecInput } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const gib = 2 ** 30
const data = { pool: 'default', volume: 'data' }
const disks: VmSpecInput = { disks: [{ name: 'data', volume: 'data' }] }

async function openWithVolume(
  options: { readonly failpoint?: (name: FailpointName) => Promise<void> } = {},
): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon(options)
  await world.call('createVolume', {
    params: { pool: 'default' },
    body: newVolume.parse({ name: 'data', size: gib }),
  })
  return world
}

function addPool(world: SimulatedDaemon) {
  return world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path: '/srv/fast' }) })
}

function resize(world: SimulatedDaemon, size: number, shrink = false) {
  return world.call('resizeVolume', { params: data, body: { size, shrink } })
}

function clone(world: SimulatedDaemon, mode: 'linked' | 'full', name = 'copy') {
  return world.call('cloneVolume', { params: data, query: { wait: 10 }, body: { name, mode } })
}

function convert(world: SimulatedDaemon, body: { pool?: string; format?: 'raw' | 'qcow2' }) {
  return world.call('convertVolume', { params: data, query: { wait: 10 }, body })
}

function show(world: SimulatedDaemon, volume = 'data', pool = 'default') {
  return world.call('getVolume', { params: { pool, volume } })
}

test('a volume grows, with and without a running guest, and its file with it', async () => {
  await using world = await openWithVolume()

  assert.equal((await resize(world, 2 * gib)).capacityBytes, 2 * gib)
  await world.createVm('web1', disks)
  await world.start('web1')
  assert.equal((await resize(world, 3 * gib)).capacityBytes, 3 * gib)

  assert.deepEqual(
    [...world.machine.volumes.values()].map(({ capacityBytes }) => capacityBytes),
    [3 * gib],
  )
})

test('a volume shrinks only when that is asked for, of a VM that is off, and not below what it is based on', async () => {
  await using world = await openWithVolume()
  await world.createVm('web1', disks)
  await world.start('web1')

  await assert.rejects(resize(world, gib / 2), { code: 'bad-request' })
  await assert.rejects(resize(world, gib / 2, true), { code: 'in-use' })
  await world.call('powerOffVm', { params: { name: 'web1' } })
  assert.equal((await resize(world, gib / 2, true)).capacityBytes, gib / 2)
  await clone(world, 'linked')
  await assert.rejects(resize(world, gib / 4, true), /overlay/)
})

test('sizes that no disk has are refused', async () => {
  await using world = await openWithVolume()

  for (const size of [0, 513, gib + 1])
    await assert.rejects(resize(world, size, true), { code: 'bad-request' })
  for (const size of [511, gib - 1])
    await assert.rejects(
      world.call('createVolume', {
        params: { pool: 'default' },
        body: newVolume.parse({ name: 'odd', size }),
      }),
      { code: 'bad-request' },
    )
})

test('a linked clone and the volume it came from lie on one base, which goes with the last of them', async () => {
  await using world = await openWithVolume()
  await world.createVm('web1', disks)

  assert.equal((await clone(world, 'linked')).state, 'succeeded')

  const volumes = await world.call('listVolumes', {})
  assert.deepEqual(
    volumes.map(({ name, base, usedBy }) => [name, base, usedBy]),
    [
      ['copy', 'data.base', []],
      ['data', 'data.base', ['web1']],
      ['data.base', undefined, []],
    ],
  )
  await assert.rejects(
    world.call('deleteVolume', { params: { pool: 'default', volume: 'data.base' } }),
    /in use by volume/,
  )
  await world.call('deleteVolume', { params: { pool: 'default', volume: 'copy' } })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: true } })
  assert.deepEqual(await world.call('listVolumes', {}), [])
})

test('a full clone has no base and may lie elsewhere', async () => {
  await using world = await openWithVolume()
  await addPool(world)

  const job = await world.call('cloneVolume', {
    params: data,
    query: { wait: 10 },
    body: { name: 'data', mode: 'full', pool: 'fast', format: 'raw' },
  })

  assert.equal(job.state, 'succeeded')
  const { base, format } = await show(world, 'data', 'fast')
  assert.deepEqual([base, format], [undefined, 'raw'])
})

test('a volume of a running VM is neither cloned nor converted', async () => {
  await using world = await openWithVolume()
  await world.createVm('web1', disks)
  await world.start('web1')

  assert.equal((await clone(world, 'full')).error?.code, 'in-use')
  assert.equal((await convert(world, { format: 'raw' })).error?.code, 'in-use')
  assert.equal((await world.call('listVolumes', {})).length, 1)
})

test('a converted volume keeps its name, and its VM goes on with it in another pool', async () => {
  await using world = await openWithVolume()
  await addPool(world)
  await world.createVm('web1', disks)

  await convert(world, { format: 'raw' })
  assert.equal((await show(world)).format, 'raw')
  await convert(world, { pool: 'fast', format: 'qcow2' })

  const moved = await show(world, 'data', 'fast')
  assert.deepEqual([moved.format, moved.usedBy], ['qcow2', ['web1']])
  assert.equal((await world.vm('web1')).spec.disks[0]?.pool, 'fast')
  assert.equal((await world.start('web1')).state, 'succeeded')
  assert.equal(world.machine.volumes.size, 1)
})

test('a volume that something is done to is not taken, deleted or worked on by another', async () => {
  const reached = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  await using world = await openWithVolume({
    async failpoint(name) {
      if (name !== 'volume.copy.after-row') return
      reached.resolve()
      await released.promise
    },
  })
  const cloning = clone(world, 'full')
  await reached.promise

  await assert.rejects(world.call('deleteVolume', { params: data }), { code: 'busy' })
  await assert.rejects(world.createVm('web1', disks), { code: 'busy' })
  await assert.rejects(resize(world, 2 * gib), { code: 'busy' })

  released.resolve()
  assert.equal((await cloning).state, 'succeeded')
  await world.createVm('web1', disks)
})

for (const point of [
  'volume.resize.after-row',
  'volume.resize.after-file',
  'volume.copy.after-row',
  'volume.copy.after-file',
] as const)
  test(`a daemon that dies at ${point} is followed by one whose store says what is`, async () => {
    const reached = Promise.withResolvers<void>()
    const first = await openWithVolume({
      async failpoint(name) {
        if (name !== point) return
        reached.resolve()
        await new Promise(() => {})
      },
    })
    const work = point.startsWith('volume.resize')
      ? resize(first, 2 * gib)
      : convert(first, { format: 'raw' })
    work.catch(() => {})
    await reached.promise

    await using world = await first.killAndFollow()

    const volumes = world.daemon.context.ports.store.volumes.list()
    assert.deepEqual(
      volumes.map(({ name, work: left, capacityBytes, format }) => [name, left, capacityBytes, format]),
      [['data', undefined, point === 'volume.resize.after-file' ? 2 * gib : gib, 'qcow2']],
    )
    assert.equal(world.machine.volumes.size, 1)
  })

test('only a full copy that is qcow2 is compressed', async () => {
  await using world = await openWithVolume()
  const copy = (body: { mode: 'linked' | 'full'; format?: 'raw' }) =>
    world.call('cloneVolume', {
      params: data,
      query: { wait: 10 },
      body: { name: 'copy', compress: true, ...body },
    })

  await assert.rejects(copy({ mode: 'linked' }), { code: 'bad-request' })
  await assert.rejects(copy({ mode: 'full', format: 'raw' }), { code: 'bad-request' })
  assert.equal((await copy({ mode: 'full' })).state, 'succeeded')
})

test('a clone is linked unless a full one is asked for, or something that only a full one can be', async () => {
  await using world = await openWithVolume()
  await addPool(world)
  const clone = async (body: { name: string; pool?: string; format?: 'raw'; compress?: true }) => {
    await world.call('cloneVolume', { params: data, query: { wait: 10 }, body })
    return await show(world, body.name, body.pool)
  }

  assert.equal((await clone({ name: 'linked' })).base, 'data.base')
  assert.equal((await clone({ name: 'there', pool: 'fast' })).base, undefined)
  const { base, format } = await clone({ name: 'plain', format: 'raw' })
  assert.deepEqual([base, format], [undefined, 'raw'])
  assert.equal((await clone({ name: 'small', compress: true })).base, undefined)
})
