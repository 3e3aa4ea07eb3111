/** Disks that come and go while the guest runs, guests that keep them, and emulators that do not take them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Vm, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

type Disks = NonNullable<VmSpecInput['disks']>

const params = { name: 'web1' }
const data = { name: 'data', size: '1GiB' }

async function openRunning(disks: Disks, more: VmSpecInput = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.createVm('web1', { disks, ...more })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  return world
}

async function setDisks(world: SimulatedDaemon, disks: Disks): Promise<Vm> {
  return await world.call('applyVm', { params, body: { spec: vmSpec.parse({ disks }) } })
}

async function planned(world: SimulatedDaemon, disks: Disks, more: VmSpecInput = {}) {
  const plan = await world.call('planVm', { params, body: { spec: vmSpec.parse({ disks, ...more }) } })
  return plan.changes.map(({ field, effect, reason }) => ({ field, effect, reason }))
}

async function ended(world: SimulatedDaemon, vm: Vm) {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 5 } })
}

function disksOf(world: SimulatedDaemon): readonly string[] {
  return [...world.process('web1').disks.plugged.keys()].sort()
}

test('a disk is plugged into a guest that runs, and taken away again; its volume stays', async () => {
  const one = { name: 'one', ioThread: true }
  await using world = await openRunning([{ ...one, size: '1GiB' }])

  const came = await ended(world, await setDisks(world, [one, data]))
  assert.deepEqual(disksOf(world), ['data', 'one'])
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
  const went = await ended(world, await setDisks(world, [one]))

  assert.deepEqual(
    [came, went].map(({ kind, state, outcome }) => [kind, state, outcome]),
    [
      ['vm.set-disks', 'succeeded', 'Disk data is plugged.'],
      ['vm.set-disks', 'succeeded', 'Disk data is gone.'],
    ],
  )
  assert.deepEqual(disksOf(world), ['one'])
  assert.deepEqual([...world.process('web1').disks.ioThreads], ['io-one'])
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
  await world.call('deleteVolume', { params: { pool: 'default', volume: 'web1-data' } })
})

test('a disk for io_uring has threads where the emulator was started without io_uring, and says so', async () => {
  await using world = await openRunning([{ name: 'one', size: '1GiB' }])
  const ring = { name: 'ring', size: '1GiB', aio: 'io_uring' as const }

  await ended(world, await setDisks(world, [{ name: 'one' }, ring]))

  assert.deepEqual(world.process('web1').disks.plugged.get('ring')?.aio, {
    mode: 'threads',
    reason: 'the spec says io_uring, but the VM was started without a disk on it',
  })
})

test('the plan says what is done live and what waits, and why', async () => {
  await using world = await openRunning([{ name: 'root', size: '1GiB' }])

  const more = ['a', 'b', 'c'].map((name) => ({ name, size: '1GiB' }))
  assert.deepEqual(await planned(world, [{ name: 'root' }, ...more]), [
    { field: 'disks.a', effect: 'live', reason: 'it is plugged while the guest runs' },
    { field: 'disks.b', effect: 'live', reason: 'it is plugged while the guest runs' },
    {
      field: 'disks.c',
      effect: 'next-boot',
      reason: 'it has 2 slots left to plug a disk into; the next boot makes more (machine.spareSlots)',
    },
  ])
  assert.deepEqual(await planned(world, []), [
    { field: 'disks.root', effect: 'next-boot', reason: 'the guest runs from it' },
  ])
})

test('what fits is plugged and the rest waits for the next boot, which makes room for more', async () => {
  await using world = await openRunning([{ name: 'one', size: '1GiB' }])

  const disks = [{ name: 'one' }, ...['a', 'b', 'c'].map((name) => ({ name, size: '1GiB' }))]
  await ended(world, await setDisks(world, disks))

  assert.deepEqual(disksOf(world), ['a', 'b', 'one'])
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['disks.c'])
  await world.call('powerOffVm', { params })
  await world.start('web1')
  assert.deepEqual(disksOf(world), ['a', 'b', 'c', 'one'])
  const again = await ended(world, await setDisks(world, [...disks, { name: 'd', size: '1GiB' }]))
  assert.equal(again.state, 'succeeded', JSON.stringify(again.error))
})

test('a slot is given again only when the guest has let go of what was in it', async () => {
  await using world = await openRunning([{ name: 'one', size: '1GiB' }])
  await ended(world, await setDisks(world, [{ name: 'one' }, data, { name: 'log', size: '1GiB' }]))
  world.process('web1').disks.release = 'refusing'
  const kept = await ended(world, await setDisks(world, [{ name: 'one' }, data]))
  assert.equal(kept.error?.code, 'guest-refused')

  const [late] = (await planned(world, [{ name: 'one' }, data, { name: 'more', size: '1GiB' }])).slice(-1)
  assert.equal(late?.effect, 'next-boot')
  world.process('web1').disks.release = 'willing'
  world.process('web1').disks.answer('log')

  await eventually(
    async () => (await world.vm('web1')).status.restartNeeded?.length === 0,
    'the disk that was kept is gone',
  )
  const [now] = (await planned(world, [{ name: 'one' }, data, { name: 'more', size: '1GiB' }])).slice(-1)
  assert.equal(now?.effect, 'live')
})

test('a guest that refuses keeps its disk: the job says so, the status too, and its volume stays in use', async () => {
  await using world = await openRunning([data])
  world.process('web1').disks.release = 'refusing'

  const job = await ended(world, await setDisks(world, []))

  assert.equal(job.error?.code, 'guest-refused')
  assert.match(job.error?.detail ?? '', /^The guest of VM web1 keeps disk data: it refuses/)
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['disks.data'])
  await assert.rejects(world.call('deleteVolume', { params: { pool: 'default', volume: 'web1-data' } }), {
    code: 'in-use',
  })
  const taken = await ended(world, await setDisks(world, [{ ...data, volume: 'web1-data' }]))
  assert.equal(taken.outcome, 'Disk data stays.')
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
})

test('what a guest kept is asked of it again by the same words', async () => {
  await using world = await openRunning([data])
  world.process('web1').disks.release = 'refusing'
  await ended(world, await setDisks(world, []))
  world.process('web1').disks.release = 'willing'

  const job = await ended(world, await setDisks(world, []))

  assert.equal(job.outcome, 'Disk data is gone.')
})

test('a disk that the emulator does not take waits for the next boot; the job says why', async () => {
  await using world = await openRunning([{ name: 'one', size: '1GiB' }])
  world.process('web1').disks.refusesAll = true

  const job = await ended(world, await setDisks(world, [{ name: 'one' }, data]))

  assert.equal(job.error?.code, 'emulator-failed')
  assert.match(job.error.detail ?? '', /is in the spec of VM web1 all the same and comes with its next boot/)
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['disks.data'])
  const taken = await setDisks(world, [{ name: 'one' }])
  assert.deepEqual(taken.status.restartNeeded, [])
})

test('a guest that lets go of a disk by itself has it again at its next boot', async () => {
  await using world = await openRunning([data])

  world.process('web1').disks.answer('data')

  await eventually(
    async () => (await world.vm('web1')).status.restartNeeded?.join() === 'disks.data',
    'the status says that the disk is not there',
  )
  await world.call('powerOffVm', { params })
  await world.start('web1')
  assert.deepEqual(disksOf(world), ['data'])
})

test('limits change at once, come with a disk that is plugged, and hold for the next boot', async () => {
  await using world = await openRunning([data])
  const limited = { ...data, throttle: { iops: 100 } }
  const limits = () => Object.fromEntries(world.process('web1').disks.limits)

  const plan = await planned(world, [limited])
  const changed = await setDisks(world, [limited])

  assert.deepEqual(
    plan.map(({ field, effect }) => [field, effect]),
    [['disks.data.throttle', 'live']],
  )
  assert.deepEqual(changed.status.restartNeeded, [])
  assert.deepEqual(limits(), { data: { iops: 100 } })
  await ended(
    world,
    await setDisks(world, [limited, { name: 'log', size: '1GiB', throttle: { bytes: '1MiB' } }]),
  )
  assert.deepEqual(limits(), { data: { iops: 100 }, log: { bytes: 2 ** 20 } })
  await world.call('powerOffVm', { params })
  await world.start('web1')
  assert.deepEqual(Object.keys(limits()).sort(), ['data', 'log'])
  await setDisks(world, [data, { name: 'log' }])
  assert.deepEqual(limits(), {})
})

test('disks that were to come or go, and that nobody works on, are taken up by the same words', async () => {
  let isFailing = false
  await using world = await openSimulatedDaemon({
    failpoint: async (name) => {
      if (isFailing && name === 'vm.change.after-row') throw new Error('A step fails.')
    },
  })
  await world.createVm('web1', { disks: [data] })
  await world.start('web1')
  isFailing = true
  await assert.rejects(setDisks(world, []))
  isFailing = false

  const job = await ended(world, await setDisks(world, []))

  assert.equal(job.outcome, 'Disk data is gone.')
})
