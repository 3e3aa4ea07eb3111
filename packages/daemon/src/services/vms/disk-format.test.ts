/** The format of a disk that is made for a VM: asked for once, kept, and refused where there is nothing to choose. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool, newVolume, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

type Disks = NonNullable<VmSpecInput['disks']>

const params = { name: 'web1' }
const raw = { name: 'data', size: '1GiB', format: 'raw' } as const

function apply(world: SimulatedDaemon, disks: Disks) {
  return world.call('applyVm', { params, body: { spec: vmSpec.parse({ disks }) } })
}

async function formats(world: SimulatedDaemon): Promise<Readonly<Record<string, string>>> {
  const volumes = await world.call('listVolumes', {})
  return Object.fromEntries(volumes.map(({ name, format }) => [name, format]))
}

test('a disk has the format that it is asked to have, with a VM and later, and the pool’s first unless said', async () => {
  await using world = await openSimulatedDaemon()
  const more = { name: 'more', size: '1GiB', format: 'raw' } as const

  const { spec } = await world.createVm('web1', { disks: [raw, { name: 'plain', size: '1GiB' }] })
  await apply(world, [{ name: 'data' }, { name: 'plain' }, more])

  assert.equal(spec.disks[0]?.format, 'raw')
  assert.deepEqual(await formats(world), { 'web1-data': 'raw', 'web1-plain': 'qcow2', 'web1-more': 'raw' })
})

test('a spec that is applied again makes nothing, and another format of a disk that is there is refused', async () => {
  await using world = await openSimulatedDaemon()
  const { spec, revision } = await world.createVm('web1', { disks: [raw] })

  await apply(world, [raw])
  await apply(world, [{ name: 'data' }])
  await world.call('applyVm', { params, body: { spec } })

  assert.equal((await world.vm('web1')).revision, revision)
  await assert.rejects(apply(world, [{ ...raw, format: 'qcow2' }]), { code: 'plan-refused' })
  assert.deepEqual(await formats(world), { 'web1-data': 'raw' })
})

test('a volume that is there is given no format that it has not', async () => {
  await using world = await openSimulatedDaemon()
  const body = newVolume.parse({ name: 'there', size: 2 ** 30 })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  const there = { name: 'data', volume: 'there', format: 'raw' } as const

  await assert.rejects(world.createVm('web1', { disks: [there] }), {
    code: 'bad-request',
    message:
      'Volume there is qcow2, so disk data of VM web1 has no format raw; only a volume that is made for a disk is given one.',
  })
  await world.createVm('web1')
  await assert.rejects(apply(world, [there]), { code: 'bad-request' })

  assert.equal((await apply(world, [{ ...there, format: 'qcow2' }])).spec.disks[0]?.volume, 'there')
})

test('a pool refuses a format that it has not', async () => {
  await using world = await openSimulatedDaemon()
  await world.call('createPool', { body: newPool.parse({ type: 'lvm', name: 'fast', vg: 'vg1' }) })
  const onFast = { name: 'data', pool: 'fast', size: '64MiB' }

  await assert.rejects(world.createVm('web1', { disks: [{ ...onFast, format: 'qcow2' }] }), {
    code: 'unsupported',
    message: 'Pool fast has no volumes of format qcow2, only raw.',
  })
  await world.createVm('web1', { disks: [{ ...onFast, format: 'raw' }] })

  assert.deepEqual(await formats(world), { 'web1-data': 'raw' })
})

test('the root disk that an image brings is a copy of it when it is to be raw', async () => {
  await using world = await openSimulatedDaemon()
  await world.call('buildImage', { body: { recipe: 'debian-13' }, query: { wait: 5 } })

  await world.createVm('web1', { image: 'debian-13', disks: [{ name: 'root', format: 'raw' }] })

  const [volume] = await world.call('listVolumes', {})
  assert.deepEqual([volume?.format, volume?.image], ['raw', undefined])
})

for (const [mode, format] of [
  ['full', 'raw'],
  ['linked', 'qcow2'],
] as const)
  test(`a ${mode} clone has its disk as ${format}, and its spec says so`, async () => {
    await using world = await openSimulatedDaemon()
    await world.createVm('web1', { disks: [raw] })

    await world.call('cloneVm', { params, query: { wait: 5 }, body: { name: 'web2', mode } })

    assert.equal((await world.vm('web2')).spec.disks[0]?.format, format)
    assert.equal((await formats(world))['web2-data'], format)
  })

test('a disk that was moved into another format is changed as before', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { disks: [raw] })
  const body = { format: 'qcow2', keep: false, flatten: false } as const

  const volume = { pool: 'default', volume: 'web1-data' }
  await world.call('convertVolume', { params: volume, query: { wait: 5 }, body })

  assert.deepEqual(await formats(world), { 'web1-data': 'qcow2' })
  const changed = await apply(world, [{ ...raw, cache: 'none' }])
  assert.equal(changed.spec.disks[0]?.cache, 'none')
})
