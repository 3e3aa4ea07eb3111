import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailpointName } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const hurry = 50
const params = { name: 'web1' }
const wait = { wait: 60 * hurry }

/** A VM with a raw disk and one in qcow2, started, with a checkpoint. */
async function openWorld(options: Parameters<typeof openSimulatedDaemon>[0] = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  await world.createVm('web1', {
    disks: [
      { name: 'root', size: '1GiB', format: 'raw' },
      { name: 'data', size: '1GiB' },
    ],
  })
  await start(world)
  await world.call('createCheckpoint', { params, body: { name: 'monday', description: '' } })
  return world
}

async function start(world: SimulatedDaemon): Promise<void> {
  await world.call('startVm', { params, query: wait })
}

async function powerOff(world: SimulatedDaemon): Promise<void> {
  await world.call('powerOffVm', { params })
}

function rootOf({ daemon }: SimulatedDaemon) {
  const volume = daemon.context.ports.store.volumes.find('default', 'web1-root')
  assert.ok(volume)
  return volume
}

/** What is known of the raw disk; that a qcow2 file has what was noted is QEMU's, and not simulated. */
async function state(world: SimulatedDaemon): Promise<string | undefined> {
  const [monday] = await world.call('listCheckpoints', { params })
  return monday?.disks.find(({ disk }) => disk === 'root')?.state
}

test('what was noted of a raw disk is put away when its VM stops, and is back when it runs', async () => {
  await using world = await openWorld()

  await powerOff(world)
  const { id, notesOf } = rootOf(world)
  assert.equal(notesOf, (await world.vm('web1')).uuid)
  assert.deepEqual([...world.machine.notes.keys()], [id])
  await start(world)

  assert.equal(await state(world), 'usable')
  assert.equal(rootOf(world).notesOf, undefined)
  assert.deepEqual([...world.machine.notes.keys()], [])
})

test('a VM whose checkpoints are all in qcow2, and one without any, put nothing away', async () => {
  await using world = await openWorld()
  await world.call('deleteCheckpoint', { params: { ...params, checkpoint: 'monday' } })

  await powerOff(world)

  assert.equal(rootOf(world).notesOf, undefined)
  assert.equal(world.machine.notes.size, 0)
})

test('what changes a volume while its VM is off takes its notes away, and what reads it does not', async () => {
  await using world = await openWorld()
  await powerOff(world)
  const { store } = world.daemon.context.ports
  const noted = rootOf(world)
  const vmId = noted.notesOf

  for (const work of ['cloned', 'downloaded', 'exported', 'converted', 'checked'] as const) {
    store.volumes.update({ ...rootOf(world), work })
    const { work: _, ...free } = rootOf(world)
    store.volumes.update(free)
    assert.equal(rootOf(world).notesOf, vmId, work)
  }
  const changes = [
    { work: 'wiped' },
    { work: 'uploaded' },
    { work: 'filled' },
    { work: 'moved' },
    { work: 'resized' },
    { frozen: true },
    { phase: 'uploading' },
    { capacityBytes: 2 * noted.capacityBytes },
  ] as const
  for (const change of changes) {
    store.volumes.setNotesOf(noted.id, vmId)
    store.volumes.update({ ...noted, ...change })
    store.volumes.update(noted) // A row that was read before brings nothing back.
    assert.equal(rootOf(world).notesOf, undefined, JSON.stringify(change))
  }
  await start(world)
  assert.equal(await state(world), 'lost')
})

test('notes that a change of their volume has made untrue go, and those of a volume that goes', async () => {
  await using world = await openWorld()
  const wait = { wait: 60 * hurry }
  const volume = { pool: 'default', volume: 'web1-root' }
  const isGone = () => eventually(() => world.machine.notes.size === 0, 'the file of the notes is gone')

  await powerOff(world)
  await world.call('resizeVolume', { params: volume, body: { size: 2 * 2 ** 30, shrink: false } })
  await isGone()
  await start(world)
  await world.call('createCheckpoint', { params, body: { name: 'tuesday', description: '' } })
  await powerOff(world)
  assert.equal(world.machine.notes.size, 1)
  await world.call('deleteVm', { params, query: { disks: true, ...wait } })
  await isGone()

  assert.equal((await world.call('getAudit', {})).clean, true)
})

test('a file of notes that did not come to be whole does not stay', async () => {
  await using world = await openWorld()
  world.process('web1').disks.bitmaps.get = () => {
    throw new Error('The emulator has no time.')
  }

  await powerOff(world)

  await eventually(() => world.machine.notes.size === 0, 'the file of the notes is gone')
  assert.equal(rootOf(world).notesOf, undefined)
  assert.equal((await world.call('getAudit', {})).clean, true)
})

test('a copy of a row has no notes, and another VM takes none', async () => {
  await using world = await openWorld()
  await powerOff(world)
  const { store } = world.daemon.context.ports
  const noted = rootOf(world)

  store.volumes.insert({ ...noted, id: 'copy', name: 'copy' })
  assert.equal(store.volumes.get('copy')?.notesOf, undefined)
  store.volumes.remove('copy')
  store.volumes.setNotesOf(noted.id, 'another')
  await start(world)

  assert.equal(await state(world), 'lost')
  assert.equal(rootOf(world).notesOf, undefined)
})

test('a checkpoint that cannot be put away or read back is lost, and the VM stops and starts all the same', async () => {
  await using world = await openWorld()
  world.machine.notes.set = () => {
    throw new Error('There is no room.')
  }
  await powerOff(world)
  assert.equal(rootOf(world).notesOf, undefined)
  Reflect.deleteProperty(world.machine.notes, 'set')
  await start(world)
  assert.equal(await state(world), 'lost')

  await world.call('createCheckpoint', { params, body: { name: 'tuesday', description: '' } })
  await powerOff(world)
  world.machine.notes.clear()
  await start(world)
  assert.deepEqual(
    (await world.call('listCheckpoints', { params })).map(({ disks }) => disks[0]?.state),
    ['lost', 'lost'],
  )
})

test('a shareable disk has no checkpoint, since others write to it', async () => {
  await using world = await openSimulatedDaemon({ hurry })
  await world.createVm('web1', { disks: [{ name: 'root', size: '1GiB', shareable: true }] })
  await start(world)

  await assert.rejects(
    world.call('createCheckpoint', { params, body: { name: 'monday', description: '' } }),
    {
      code: 'unsupported',
      message: /shareable/,
    },
  )
})

const stops: readonly FailpointName[] = [
  'checkpoint.put-away.after-file',
  'checkpoint.put-away.after-bitmaps',
  'vm.stop.after-end',
  'vm.stop.after-state',
]
const starts: readonly FailpointName[] = [
  'vm.start.after-launch',
  'checkpoint.take-back.after-bitmaps',
  'checkpoint.take-back.after-rows',
  'checkpoint.take-back.after-files',
  'vm.start.after-resume',
]

for (const point of [...stops, ...starts])
  test(`a daemon that dies at ${point} leaves notes that are true, or none`, async () => {
    let armed = false
    const died = Promise.withResolvers<void>()
    await using world = await openWorld({
      failpoint: (name: FailpointName) => {
        if (!armed || name !== point) return Promise.resolve()
        died.resolve()
        return new Promise<void>(() => {})
      },
    })
    if (starts.includes(point)) await powerOff(world)

    armed = true
    const work = starts.includes(point) ? start(world) : powerOff(world)
    work.catch(() => {})
    await died.promise
    await using next = await world.killAndFollow()

    const isOff = ['shutoff', 'crashed'].includes((await next.vm('web1')).status.state)
    if (!isOff) assert.equal(rootOf(next).notesOf, undefined, 'There are notes of a disk that is written to.')
    const known = rootOf(next).notesOf !== undefined
    assert.equal(next.machine.notes.size, known ? 1 : 0)
    if (isOff) await start(next)
    if (known) assert.equal(await state(next), 'usable')
    assert.ok(['usable', 'lost'].includes((await state(next)) ?? ''))
    assert.equal(rootOf(next).notesOf, undefined)
  })

for (const point of [...stops, ...starts])
  test(`a step that fails at ${point} leaves no file of notes that no row names`, async () => {
    let armed = false
    await using world = await openWorld({
      failpoint: async (name: FailpointName) => {
        if (!armed || name !== point) return
        armed = false
        throw new Error('The step fails.')
      },
    })
    if (starts.includes(point)) await powerOff(world)

    armed = true
    await (starts.includes(point) ? start(world) : powerOff(world)).catch(() => {})

    assert.equal(armed, false)
    const isTold = async () => {
      const { entries } = await world.call('getAudit', {})
      return entries.every(({ thing }) => thing !== 'notes of a volume')
    }
    await eventually(isTold, 'there are no notes that no row names')
  })
