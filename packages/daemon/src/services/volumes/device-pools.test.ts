/** Volumes of pools whose volumes are devices: raw, in whole extents, copied from images, with clones that need no base. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool, newVolume, type VmSpecInput } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
/** Seconds for a job, however slow the machine is. */
const patience = 60

async function openWithPools(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  const thin = { type: 'lvm-thin', name: 'thin', vg: 'vg0', thinPool: 'pool0' } as const
  await world.call('createPool', { body: newPool.parse({ type: 'lvm', name: 'fast', vg: 'vg1' }) })
  await world.call('createPool', { body: newPool.parse(thin) })
  return world
}

function create(world: SimulatedDaemon, pool: string, name: string, format?: 'raw' | 'qcow2') {
  const body = newVolume.parse({ name, size: 10 * mib, ...(format ? { format } : {}) })
  return world.call('createVolume', { params: { pool }, body })
}

const onThin: VmSpecInput = { disks: [{ name: 'data', pool: 'thin', size: 64 * mib }] }

test('a volume group is told by its name, and no two pools are made of one', async () => {
  await using world = await openWithPools()
  const pools = await world.call('listPools', {})
  assert.deepEqual(pools.map(({ name, type, place }) => [name, type, place]).slice(1), [
    ['fast', 'lvm', '/dev/vg1'],
    ['thin', 'lvm-thin', 'vg0/pool0'],
  ])
  const again = newPool.parse({ type: 'lvm', name: 'again', vg: 'vg1' })
  await assert.rejects(world.call('createPool', { body: again }), { code: 'pool-refused' })
})

test('a volume is raw unless told, has whole extents, and grows to whole ones', async () => {
  await using world = await openWithPools()

  const made = await create(world, 'fast', 'data')

  assert.deepEqual([made.format, made.capacityBytes], ['raw', 12 * mib])
  await assert.rejects(create(world, 'fast', 'other', 'qcow2'), { code: 'unsupported' })
  const params = { pool: 'fast', volume: 'data' }
  const grown = await world.call('resizeVolume', { params, body: { size: 21 * mib, shrink: false } })
  assert.equal(grown.capacityBytes, 24 * mib)
})

test('a running guest is told what its device became', async () => {
  await using world = await openWithPools()
  await world.createVm('web1', onThin)
  await world.start('web1')
  const [{ name: volume } = { name: '' }] = await world.call('listPoolVolumes', { params: { pool: 'thin' } })

  const params = { pool: 'thin', volume }
  const grown = await world.call('resizeVolume', { params, body: { size: 65 * mib, shrink: false } })

  assert.equal(grown.capacityBytes, 68 * mib)
})

test('a clone of a thin volume needs it no more, and a volume group has full ones alone', async () => {
  await using world = await openWithPools()
  await create(world, 'thin', 'data')
  await create(world, 'fast', 'data')
  const clone = (pool: string, mode?: 'linked' | 'full', name = 'copy') =>
    world.call('cloneVolume', {
      params: { pool, volume: 'data' },
      query: { wait: patience },
      body: { name, mode },
    })

  assert.equal((await clone('thin', 'linked')).state, 'succeeded')
  const made = await world.call('getVolume', { params: { pool: 'thin', volume: 'copy' } })
  assert.deepEqual([made.base, made.clonedFrom], [undefined, 'data'])

  await world.call('deleteVolume', { params: { pool: 'thin', volume: 'data' } })
  const [copy, ...others] = await world.call('listPoolVolumes', { params: { pool: 'thin' } })
  assert.deepEqual([copy?.name, copy?.base, copy?.format, others.length], ['copy', undefined, 'raw', 0])
  await assert.rejects(clone('fast', 'linked'), { code: 'unsupported' })
  assert.equal((await clone('fast', 'full')).state, 'succeeded')
  assert.equal((await clone('fast', undefined, 'more')).state, 'succeeded', 'Unless said, as the pool can.')
})

test('a linked clone of a VM has thin clones of its disks', async () => {
  await using world = await openWithPools()
  await world.createVm('web1', onThin)

  const job = await world.call('cloneVm', {
    params: { name: 'web1' },
    query: { wait: patience },
    body: { name: 'web2', mode: 'linked' },
  })

  assert.equal(job.state, 'succeeded')
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: true } })
  const left = await world.call('listPoolVolumes', { params: { pool: 'thin' } })
  assert.deepEqual(
    left.map(({ name, usedBy, base }) => [name, usedBy, base]),
    [['web2-data', ['web2'], undefined]],
  )
  assert.equal((await world.start('web2')).state, 'succeeded')
})

test('a volume moves between a folder and a volume group, in the format that each has', async () => {
  await using world = await openWithPools()
  await create(world, 'default', 'data')
  const convert = async (from: string, pool: string) => {
    const job = await world.call('convertVolume', {
      params: { pool: from, volume: 'data' },
      query: { wait: patience },
      body: { pool },
    })
    assert.equal(job.state, 'succeeded')
    const { format, capacityBytes } = await world.call('getVolume', { params: { pool, volume: 'data' } })
    return [format, capacityBytes]
  }

  assert.deepEqual(await convert('default', 'fast'), ['raw', 12 * mib])
  assert.deepEqual(await convert('fast', 'default'), ['raw', 12 * mib])
})

test('a disk moves from a file to a volume group and back while its VM runs', async () => {
  await using world = await openWithPools()
  await world.createVm('web1', { disks: [{ name: 'data', size: 10 * mib }] })
  await world.start('web1')
  const move = async (pool: string) => {
    const params = { name: 'web1', disk: 'data' }
    const body = { pool, speed: 0, keep: false, force: false }
    const job = await world.call('moveDisk', { params, query: { wait: patience }, body })
    assert.equal(job.state, 'succeeded', job.error?.detail ?? '')
    const { format, capacityBytes } = await world.call('getVolume', { params: { pool, volume: 'web1-data' } })
    return [format, capacityBytes]
  }

  assert.deepEqual(await move('fast'), ['raw', 12 * mib])
  assert.deepEqual(await move('default'), ['raw', 12 * mib])
})

test('a stopped pool is given back to the host', async () => {
  await using world = await openWithPools()
  const stopped = await world.call('stopPool', { params: { pool: 'fast' } })
  assert.equal(stopped.state, 'inactive')
})

test('a refresh looks into logical volumes of others, and passes over those that cannot be opened', async () => {
  await using world = await openWithPools()
  const there = { capacityBytes: mib, allocatedBytes: mib, basePath: undefined, folder: '/dev/vg1' }
  for (const file of ['packed', 'plain']) world.machine.volumes.set(`their-${file}`, { ...there, file })
  const block = new Uint8Array(4096)
  block.set(Buffer.from('QFI\xfb', 'latin1'))
  world.machine.contents.set('their-packed', new Map([[0, block]]))

  const { findings = [] } = await world.call('refreshPool', { params: { pool: 'fast' } })

  const details = Object.fromEntries(findings.map(({ file, detail }) => [file, detail]))
  assert.match(details['packed'] ?? '', /by force alone/)
  assert.match(details['plain'] ?? '', /can be imported as raw\.$/)
})
