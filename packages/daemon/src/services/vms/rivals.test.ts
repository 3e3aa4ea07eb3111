/** Several clients that want the same things at once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newVolume } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** Holds the first that comes to a point there until it is let go. */
function holdAt(name: FailpointName) {
  const reached = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  let isFirst = true
  const failpoint = async (point: FailpointName) => {
    if (point !== name || !isFirst) return
    isFirst = false
    reached.resolve()
    await released.promise
  }
  return { failpoint, reached: reached.promise, release: () => released.resolve() }
}

const longName = 'a'.repeat(63)
const twoDisks = {
  disks: [
    { name: 'one', size: '1GiB' },
    { name: 'two', size: '1GiB' },
  ],
}

test('a VM with the longest name has as many disks as it wants, and so has its clone', async () => {
  await using world = await openSimulatedDaemon()

  const vm = await world.createVm(longName, twoDisks)
  const body = { name: 'b'.repeat(63), mode: 'linked' as const }
  const job = await world.call('cloneVm', { params: { name: longName }, query: { wait: 5 }, body })

  assert.equal(new Set(vm.spec.disks.map((disk) => disk.volume)).size, 2)
  assert.equal(job.state, 'succeeded')
  assert.equal((await world.call('listVolumes', {})).length, 6)
})

test('a volume that two new VMs want goes to one of them', async () => {
  const hold = holdAt('vm.create.before-row')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.call('createVolume', {
    params: { pool: 'default' },
    body: newVolume.parse({ name: 'data', size: 2 ** 30 }),
  })
  const first = world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })
  await hold.reached
  await world.createVm('web2', { disks: [{ name: 'data', volume: 'data' }] })

  hold.release()

  await assert.rejects(first, { code: 'in-use', message: /in use by VM web2/ })
  assert.deepEqual((await world.call('getAudit', {})).entries, [])
})

test('a volume that is deleted while a VM is changed to have it is not had', async () => {
  const hold = holdAt('vm.change.before-row')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.call('createVolume', {
    params: { pool: 'default' },
    body: newVolume.parse({ name: 'data', size: 2 ** 30 }),
  })
  const { spec } = await world.createVm('web1')
  const [disk] = (await world.createVm('pattern', { disks: [{ name: 'data', size: '1GiB' }] })).spec.disks
  assert.ok(disk)
  const disks = [{ ...disk, volume: 'data', size: undefined }]
  const applied = world.call('applyVm', { params: { name: 'web1' }, body: { spec: { ...spec, disks } } })
  await hold.reached
  await world.call('deleteVolume', { params: { pool: 'default', volume: 'data' } })

  hold.release()

  await assert.rejects(applied, { code: 'volume-not-found' })
  assert.deepEqual((await world.vm('web1')).spec.disks, [])
})

test('a volume that a running VM was told to give up at its next boot is not free before', async () => {
  await using world = await openSimulatedDaemon()
  const { spec } = await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  await world.start('web1')
  await world.call('applyVm', { params: { name: 'web1' }, body: { spec: { ...spec, disks: [] } } })

  await assert.rejects(world.call('deleteVolume', { params: { pool: 'default', volume: 'web1-data' } }), {
    code: 'in-use',
  })
  await assert.rejects(world.createVm('web2', { disks: [{ name: 'data', volume: 'web1-data' }] }), {
    code: 'in-use',
  })

  await world.call('powerOffVm', { params: { name: 'web1' } })
  await world.call('deleteVolume', { params: { pool: 'default', volume: 'web1-data' } })
})

test('an image that is being deleted is the base of nothing new', async () => {
  const hold = holdAt('image.delete.before-files')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.call('buildImage', { body: { recipe: 'debian-13' }, query: { wait: 5 } })
  const deleted = world.call('deleteImage', { params: { image: 'debian-13' } })
  await hold.reached

  const image = 'debian-13'
  await assert.rejects(world.createVm('web1', { image }), { code: 'image-not-found' })
  await assert.rejects(
    world.call('createVolume', {
      params: { pool: 'default' },
      body: newVolume.parse({ name: 'data', image }),
    }),
    {
      code: 'image-not-found',
    },
  )

  hold.release()
  await deleted
  assert.deepEqual((await world.call('getAudit', {})).entries, [])
})

test('an image that goes while a VM is made from it is not missed by a VM', async () => {
  const hold = holdAt('vm.create.before-row')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.call('buildImage', { body: { recipe: 'debian-13' }, query: { wait: 5 } })
  const created = world.createVm('web1', { image: 'debian-13' })
  await hold.reached
  await world.call('deleteImage', { params: { image: 'debian-13' } })

  hold.release()

  await assert.rejects(created, { code: 'image-not-found' })
  assert.deepEqual((await world.call('getAudit', {})).entries, [])
})

test('a VM with a full copy of an image that is gone can still be changed', async () => {
  await using world = await openSimulatedDaemon()
  await world.call('buildImage', { body: { recipe: 'debian-13' }, query: { wait: 5 } })
  await world.createVm('web1', { disks: [{ name: 'root', image: 'debian-13' }] })
  const body = { name: 'web2', mode: 'full' as const }
  await world.call('cloneVm', { params: { name: 'web1' }, query: { wait: 5 }, body })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: true } })
  await world.call('deleteImage', { params: { image: 'debian-13' } })
  const { spec } = await world.vm('web2')

  const changed = await world.call('applyVm', {
    params: { name: 'web2' },
    body: { spec: { ...spec, description: 'mine' } },
  })

  assert.equal(changed.spec.description, 'mine')
})

test('a change meant for a revision of a VM that does not exist makes none', async () => {
  await using world = await openSimulatedDaemon()
  const { spec } = await world.createVm('web1')

  await assert.rejects(world.call('applyVm', { params: { name: 'web2' }, body: { spec }, ifMatch: 3 }), {
    code: 'revision-mismatch',
  })
})

test('one volume is not two disks of a VM', async () => {
  await using world = await openSimulatedDaemon()
  await world.call('createVolume', {
    params: { pool: 'default' },
    body: newVolume.parse({ name: 'data', size: 2 ** 30 }),
  })
  const disks = [
    { name: 'one', volume: 'data' },
    { name: 'two', volume: 'data' },
  ]

  await assert.rejects(world.createVm('web1', { disks }), { code: 'bad-request' })
})
