/** Media of CD-ROM drives that are changed while the guest runs, volumes that several VMs read or share, and LUNs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type VmSpecInput, vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

type Disks = NonNullable<VmSpecInput['disks']>

const drive = { name: 'cd', device: 'cdrom', bus: 'sata' } as const
const iso = '/simulated/a.iso'

async function openRunning(disks: Disks, more: VmSpecInput = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.createVm('web1', { disks, ...more })
  await world.start('web1')
  return world
}

async function setMedium(world: SimulatedDaemon, body: { file?: string; volume?: string; force?: boolean }) {
  const { status } = await world.call('setMedium', {
    params: { name: 'web1', drive: 'cd' },
    body: { pool: 'default', force: false, ...body },
  })
  if (status.job === undefined) return undefined
  return await world.call('getJob', { params: { id: status.job }, query: { wait: 5 } })
}

async function createVolume(world: SimulatedDaemon, name: string, format: 'raw' | 'qcow2') {
  const body = { name, size: 2 ** 20, format, preallocation: 'none', lazyRefcounts: false } as const
  await world.call('createVolume', { params: { pool: 'default' }, body })
}

function mediumOf(world: SimulatedDaemon): string | undefined {
  return world.process('web1').disks.media.get('cd')?.[0]
}

test('a medium is put in and taken out while the guest runs, and the spec follows', async () => {
  await using world = await openRunning([drive])

  const came = await setMedium(world, { file: iso })
  const held = mediumOf(world)
  const loaded = await world.vm('web1')
  const went = await setMedium(world, {})

  assert.deepEqual([came?.outcome, went?.outcome], [`Drive cd holds ${iso}.`, 'Drive cd is empty.'])
  assert.deepEqual([held, mediumOf(world)], [iso, undefined])
  assert.deepEqual([loaded.spec.disks[0]?.file, loaded.status.restartNeeded], [iso, []])
  const empty = await world.vm('web1')
  assert.deepEqual([empty.spec.disks[0]?.file, empty.status.restartNeeded], [undefined, []])
})

test('a guest that has locked the tray keeps its medium, in the spec too, unless it is taken by force', async () => {
  await using world = await openRunning([{ ...drive, file: iso }])
  world.process('web1').disks.locked.add('cd')

  await assert.rejects(setMedium(world, {}), { code: 'guest-refused' })
  assert.equal((await world.vm('web1')).spec.disks[0]?.file, iso)
  const job = await setMedium(world, { force: true })

  assert.equal(job?.state, 'succeeded', JSON.stringify(job?.error))
  assert.equal((await world.vm('web1')).spec.disks[0]?.file, undefined)
})

test('what does not exist is refused while the tray is closed', async () => {
  await using world = await openRunning([{ ...drive, file: iso }])

  await assert.rejects(setMedium(world, { file: '/none.iso' }), { code: 'file-not-found' })
  await assert.rejects(setMedium(world, { volume: 'none' }), { code: 'volume-not-found' })
  await assert.rejects(
    world.call('setMedium', {
      params: { name: 'web1', drive: 'root' },
      body: { pool: 'default', force: false },
    }),
    { code: 'bad-request' },
  )

  assert.equal(world.process('web1').disks.openTrays.size, 0)
})

test('the plan says that a medium is changed live and that a SATA disk waits for the next boot', async () => {
  await using world = await openRunning([drive])

  const disks = [
    { ...drive, file: iso },
    { name: 'slow', size: '1GiB', bus: 'sata' as const },
  ]
  const plan = await world.call('planVm', {
    params: { name: 'web1' },
    body: { spec: vmSpec.parse({ disks }) },
  })

  assert.deepEqual(
    plan.changes.map(({ field, effect }) => [field, effect]),
    [
      ['disks.cd.file', 'live'],
      ['disks.slow', 'next-boot'],
    ],
  )
})

test('several VMs read one volume in their drives, and nobody writes to it meanwhile', async () => {
  await using world = await openSimulatedDaemon()
  await createVolume(world, 'iso', 'raw')
  const reads = { ...drive, volume: 'iso' }

  await world.createVm('one', { disks: [reads] })
  await world.createVm('two', { disks: [reads] })

  await assert.rejects(world.createVm('three', { disks: [{ name: 'data', volume: 'iso' }] }), {
    code: 'in-use',
  })
  await world.call('deleteVm', { params: { name: 'one' }, query: { disks: true } })
  await world.call('getVolume', { params: { pool: 'default', volume: 'iso' } })
})

test('two VMs share a raw volume when both say so; a qcow2 is never shared', async () => {
  await using world = await openSimulatedDaemon()
  for (const format of ['raw', 'qcow2'] as const) await createVolume(world, format, format)
  const shared = { name: 'data', volume: 'raw', shareable: true }

  await world.createVm('one', { disks: [shared] })
  await world.createVm('two', { disks: [shared] })

  await assert.rejects(world.createVm('three', { disks: [{ name: 'data', volume: 'raw' }] }), {
    code: 'in-use',
  })
  await assert.rejects(
    world.createVm('three', { disks: [{ name: 'data', volume: 'qcow2', shareable: true }] }),
    { code: 'bad-request' },
  )
})

test('LUNs come and go on a controller that is there, however few slots are left', async () => {
  const lun = (name: string) =>
    ({ name, size: '1GiB', bus: 'virtio-scsi', controller: 'shelf', ioThread: true }) as const
  await using world = await openRunning([lun('a')], { machine: { spareSlots: 0 } })

  const disks = ['a', 'b', 'c', 'd'].map(lun)
  const vm = await world.call('applyVm', {
    params: { name: 'web1' },
    body: { spec: vmSpec.parse({ disks, machine: { spareSlots: 0 } }) },
  })
  const job = await world.call('getJob', { params: { id: vm.status.job ?? '' }, query: { wait: 5 } })

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.deepEqual([...world.process('web1').disks.plugged.keys()].sort(), ['a', 'b', 'c', 'd'])
  assert.deepEqual([...world.process('web1').disks.ioThreads], ['io-shelf'])
})
