import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, newPool, newVolume } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** What sleeps sleeps so many times shorter, and who waits for a job is as many times more patient. */
const hurry = 50
const waiting = { query: { wait: 60 * hurry } }
const params = { pool: 'default', volume: 'copy' }

function flatten(world: SimulatedDaemon, volume = 'copy'): Promise<Job> {
  return world.call('flattenVolume', { params: { ...params, volume }, ...waiting })
}

/** A linked clone, `copy`, which the VM web1 has. */
async function openWithClone(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  const body = newVolume.parse({ name: 'data', size: '1GiB' })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  await world.call('cloneVolume', {
    params: { pool: 'default', volume: 'data' },
    body: { name: 'copy', mode: 'linked' },
    ...waiting,
  })
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'copy' }] })
  if (runs) await world.call('startVm', { params: { name: 'web1' }, ...waiting })
  return world
}

async function bases(world: SimulatedDaemon) {
  const volumes = await world.call('listVolumes', {})
  return volumes.map(({ name, base }) => [name, base])
}

for (const runs of [true, false])
  test(`a clone of a VM that ${runs ? 'runs' : 'is off'} becomes independent, and its base goes with the last that needs it`, async () => {
    await using world = await openWithClone(runs)

    assert.equal((await flatten(world)).state, 'succeeded')

    assert.deepEqual(await bases(world), [
      ['copy', undefined],
      ['data', 'data.base'],
      ['data.base', undefined],
    ])
    if (runs) assert.equal(world.process('web1').chains.get('data')?.length, 1)
    assert.equal((await flatten(world, 'data')).state, 'succeeded')
    assert.deepEqual(await bases(world), [
      ['copy', undefined],
      ['data', undefined],
    ])
    assert.equal(world.machine.volumes.size, 2)
  })

test('a clone with snapshots becomes independent with all of them', async () => {
  await using world = await openWithClone(true)
  for (const name of ['one', 'two'])
    await world.call('createSnapshot', {
      params: { name: 'web1' },
      body: { name, description: '', quiesce: false, memory: false },
      ...waiting,
    })

  assert.equal((await flatten(world)).state, 'succeeded')

  assert.deepEqual(await bases(world), [
    ['copy', 'copy.two'],
    ['copy.one', undefined],
    ['copy.two', 'copy.one'],
    ['data', 'data.base'],
    ['data.base', undefined],
  ])
  assert.equal(world.process('web1').chains.get('data')?.length, 3)
})

test('what is based on nothing, or is a base itself, is not flattened', async () => {
  await using world = await openWithClone(false)
  await flatten(world)

  await assert.rejects(flatten(world), { code: 'bad-request' })
  await assert.rejects(flatten(world, 'data.base'), { code: 'in-use' })
})

const ends = ['the daemon dies', 'the daemon and the emulator die', 'the step fails'] as const

for (const end of ends)
  test(`at whichever step ${end}, a flattening is gone on with or was none`, async () => {
    const points = failpointNames.filter((name) => name.startsWith('volume.flatten.'))

    const all = await Promise.allSettled(points.map((point) => breakOff(point, end)))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${points[index]}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

async function breakOff(point: FailpointName, end: (typeof ends)[number]): Promise<void> {
  const reached = Promise.withResolvers<void>()
  let isArmed = false
  const failpoint = async (name: FailpointName) => {
    if (!isArmed || name !== point) return
    isArmed = false
    reached.resolve()
    if (end === 'the step fails') throw new Error('a step failed')
    await new Promise(() => {}) // The daemon does no more.
  }
  const first = await openWithClone(true, { failpoint })
  isArmed = true
  if (end === 'the step fails') await flatten(first)
  else await first.call('flattenVolume', { params, query: {} })
  await reached.promise
  if (end === 'the daemon and the emulator die')
    first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })
  await using world = end === 'the step fails' ? first : await first.killAndFollow()

  const { store } = world.daemon.context.ports
  const isDone = () => store.volumes.find('default', 'copy')?.baseId === undefined
  const isStill = () =>
    world.daemon.context.jobs.running() === 0 && store.volumes.list().every(({ work }) => work === undefined)
  for (let turn = 0; !isStill(); turn++) {
    assert.ok(turn < 2_000, 'Something is under way for ever.')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  if (!isDone()) assert.equal((await flatten(world)).state, 'succeeded')
  assert.ok(isDone())
  if (end !== 'the daemon and the emulator die')
    assert.equal(world.process('web1').chains.get('data')?.length, 1)
}

/** A linked clone, `copy`, in a pool that reads its clones through their origins; the VM web1 has it. */
async function openWithNativeClone(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  const pool = { type: 'rbd', name: 'ceph', monitors: ['127.0.0.1'], cephPool: 'rbd' }
  await world.call('createPool', { body: newPool.parse(pool) })
  const body = newVolume.parse({ name: 'data', size: '1GiB', format: 'raw' })
  await world.call('createVolume', { params: { pool: 'ceph' }, body })
  await world.call('cloneVolume', {
    params: { pool: 'ceph', volume: 'data' },
    body: { name: 'copy', mode: 'linked' },
    ...waiting,
  })
  await world.createVm('web1', { disks: [{ name: 'data', pool: 'ceph', volume: 'copy' }] })
  if (runs) await world.call('startVm', { params: { name: 'web1' }, ...waiting })
  return world
}

const native = { pool: 'ceph', volume: 'copy' }
const origin = { pool: 'ceph', volume: 'data' }

for (const runs of [true, false])
  test(`a clone that its pool reads through its origin becomes independent, while its VM ${runs ? 'runs' : 'is off'}, and its origin stays until then`, async () => {
    await using world = await openWithNativeClone(runs)
    assert.deepEqual(await bases(world), [
      ['copy', 'data'],
      ['data', undefined],
    ])
    await assert.rejects(world.call('deleteVolume', { params: origin }), /ceph\/copy/)

    const job = await world.call('flattenVolume', { params: native, ...waiting })

    assert.equal(job.state, 'succeeded')
    assert.deepEqual(await bases(world), [
      ['copy', undefined],
      ['data', undefined],
    ])
    await world.call('deleteVolume', { params: origin })
    const again = await world.call('flattenVolume', { params: native, ...waiting })
    assert.equal(again.error?.code, 'bad-request')
  })

test('a daemon that dies while a pool flattens is followed by one that goes on with it', async () => {
  const reached = Promise.withResolvers<void>()
  const first = await openWithNativeClone(true, {
    failpoint: async (name: FailpointName) => {
      if (name !== 'volume.flatten.after-row') return
      reached.resolve()
      await new Promise(() => {})
    },
  })
  first.call('flattenVolume', { params: native }).catch(() => {})
  await reached.promise

  await using world = await first.killAndFollow()

  const isFlat = async () => (await bases(world)).every(([, base]) => base === undefined)
  while (!(await isFlat())) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(world.machine.nativeClones.size, 0)
})
