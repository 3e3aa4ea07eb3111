/** Snapshots of VMs whose disks lie in a pool without snapshots: layers lie in a pool of files, and go back down in the end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const waiting = { query: { wait: 60 } }

async function openWorld(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon(options)
  await world.call('createPool', { body: newPool.parse({ type: 'lvm', name: 'slow', vg: 'vg0' }) })
  const disks = [
    { name: 'root', pool: 'slow', size: '1GiB' },
    { name: 'data', size: '1GiB' },
  ]
  await world.createVm('web1', { disks })
  if (runs) await world.start('web1')
  return world
}

async function create(world: SimulatedDaemon, name: string): Promise<string | undefined> {
  const body = { name, description: '', quiesce: false, memory: false }
  const job = await world.call('createSnapshot', { ...waiting, params, body })
  assert.equal(job.state, 'succeeded')
  return job.outcome
}

async function remove(world: SimulatedDaemon, snapshot: string): Promise<void> {
  const job = await world.call('deleteSnapshot', { ...waiting, params: { ...params, snapshot } })
  assert.deepEqual([job.state, job.error?.detail], ['succeeded', undefined])
}

async function revert(world: SimulatedDaemon, snapshot: string, keep = false): Promise<void> {
  const one = { params: { ...params, snapshot }, body: { keep } }
  assert.equal((await world.call('revertSnapshot', { ...waiting, ...one })).state, 'succeeded')
}

/** The volumes of the pool, each with where it lies and what it lies on. */
async function volumes(world: SimulatedDaemon): Promise<readonly string[]> {
  const all = await world.call('listPoolVolumes', { params: { pool: 'slow' } })
  return all
    .map(({ name, format, liesIn, base, frozen }) =>
      [name, format, liesIn && `in ${liesIn}`, base && `on ${base}`, frozen && 'frozen']
        .filter(Boolean)
        .join(' '),
    )
    .sort()
}

function layersOpen(world: SimulatedDaemon): number | undefined {
  return world.process('web1').chains.get('root')?.length
}

/** Waits for what comes by itself, however slow the machine is. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, 'It came to be.')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

for (const runs of [true, false]) {
  const how = runs ? 'that runs' : 'that is off'

  test(`a logical volume of a VM ${how} lies under layers in a pool of files, until none is left`, async () => {
    await using world = await openWorld(runs)

    assert.match((await create(world, 'one')) ?? '', /Disk root goes on in a layer in pool default/)
    await create(world, 'two')
    assert.deepEqual(await volumes(world), [
      'web1-root qcow2 in default on web1-root.two',
      'web1-root.one raw frozen',
      'web1-root.two qcow2 in default on web1-root.one frozen',
    ])
    const { spec } = await world.call('getVm', { params })
    assert.equal(spec.disks[0]?.pool, 'slow')

    await remove(world, 'one')
    assert.deepEqual(await volumes(world), [
      'web1-root qcow2 in default on web1-root.two',
      'web1-root.two raw frozen',
    ])
    if (runs) assert.equal(layersOpen(world), 2)
    await remove(world, 'two')

    assert.deepEqual(await volumes(world), ['web1-root raw'])
    if (runs) assert.equal(layersOpen(world), 1)
  })

  test(`a layer in the middle goes upwards, and the first into the logical volume, of a VM ${how}`, async () => {
    await using world = await openWorld(runs)
    for (const name of ['one', 'two', 'three']) await create(world, name)

    await remove(world, 'two')
    assert.deepEqual(await volumes(world), [
      'web1-root qcow2 in default on web1-root.three',
      'web1-root.one raw frozen',
      'web1-root.three qcow2 in default on web1-root.one frozen',
    ])
    await remove(world, 'three')
    await remove(world, 'one')

    assert.deepEqual(await volumes(world), ['web1-root raw'])
  })

  test(`a VM ${how} goes back to a snapshot over a logical volume`, async () => {
    await using world = await openWorld(runs)
    await create(world, 'one')

    await revert(world, 'one')

    assert.deepEqual(await volumes(world), [
      'web1-root qcow2 in default on web1-root.one',
      'web1-root.one raw frozen',
    ])
  })

  test(`a VM ${how} that left branches behind is back on its logical volume when the last snapshot goes`, async () => {
    await using world = await openWorld(runs)
    for (const name of ['one', 'two', 'three']) await create(world, name)
    await revert(world, 'two')
    await create(world, 'four')
    await revert(world, 'one')

    for (const name of ['one', 'two']) await remove(world, name)
    assert.deepEqual(await volumes(world), [
      'web1-root qcow2 in default on web1-root.one',
      'web1-root.four qcow2 in default on web1-root.two frozen',
      'web1-root.one raw frozen',
      'web1-root.three qcow2 in default on web1-root.two frozen',
      'web1-root.two qcow2 in default on web1-root.one frozen',
    ])
    for (const name of ['three', 'four']) await remove(world, name)

    assert.deepEqual(await volumes(world), ['web1-root raw'])
    if (runs) assert.equal(layersOpen(world), 1)
  })

  test(`of a VM ${how}, a layer that was left goes up and the snapshot under it down`, async () => {
    await using world = await openWorld(runs)
    for (const name of ['one', 'two', 'three']) await create(world, name)
    await revert(world, 'two')

    await remove(world, 'two')
    await remove(world, 'three')
    assert.deepEqual(await volumes(world), [
      'web1-root qcow2 in default on web1-root.one',
      'web1-root.one raw frozen',
    ])
    await remove(world, 'one')

    assert.deepEqual(await volumes(world), ['web1-root raw'])
  })
}

test('a volume under layers that another volume lies on too stays when the last snapshot goes', async () => {
  await using world = await openWorld(false)
  for (const name of ['one', 'two']) await create(world, name)
  await revert(world, 'one', true)

  for (const name of ['two', 'one']) await remove(world, name)

  const [now, former] = await volumes(world)
  assert.match(`${now} ${former}`, /web1-root qcow2 in default on web1-root.one web1-root.one raw frozen/)
  assert.equal((await volumes(world)).length, 4, 'what was kept lies on what snapshot two was')
})

const points = [
  'snapshot.sink.after-begun-row',
  'snapshot.sink.after-begin',
  'snapshot.sink.before-hold',
  'snapshot.sink.after-hold',
  'snapshot.sink.after-row-switch',
  'snapshot.sink.after-finish',
] as const satisfies readonly FailpointName[]

for (const point of points)
  for (const end of ['the daemon dies', 'the daemon and the emulator die', 'the step fails'] as const)
    test(`when ${end} at ${point}, the layer goes down afterwards`, async () => {
      let isArmed = false
      const reached = Promise.withResolvers<void>()
      const failpoint = async (name: FailpointName) => {
        if (!isArmed || name !== point) return
        reached.resolve()
        if (end === 'the step fails') throw new Error('a step failed')
        await new Promise(() => {}) // The daemon does no more.
      }
      await using first = await openWorld(true, { failpoint })
      await create(first, 'one')
      isArmed = true
      const job = await first.call('deleteSnapshot', { params: { ...params, snapshot: 'one' } })
      await reached.promise
      isArmed = false
      if (end === 'the step fails') {
        const ended = await first.call('getJob', { params: { id: job.id }, query: { wait: 60 } })
        assert.equal(ended.state, 'failed')
        await remove(first, 'one')
      }
      if (end === 'the daemon and the emulator die')
        first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

      await using world = end === 'the step fails' ? first : await first.killAndFollow()

      const isGone = async () => (await world.call('listSnapshots', { params })).length === 0
      await until(isGone)
      assert.deepEqual(await volumes(world), ['web1-root raw'])
      if (end !== 'the daemon and the emulator die') assert.equal(layersOpen(world), 1)
      assert.equal((await world.call('listVolumes', {})).length, world.machine.volumes.size)
    })

test('a pool with snapshots itself takes no other one for its layers, and one with files is needed', async () => {
  await using world = await openSimulatedDaemon()
  const slow = { type: 'lvm', name: 'slow', vg: 'vg0' } as const
  const refused = (code: string) => ({ code })

  await assert.rejects(
    world.call('createPool', { body: newPool.parse({ ...slow, layersIn: 'nowhere' }) }),
    refused('pool-not-found'),
  )
  await world.call('createPool', { body: newPool.parse(slow) })
  await assert.rejects(
    world.call('changePool', { params: { pool: 'slow' }, body: { layersIn: 'slow' } }),
    refused('unsupported'),
  )
  await assert.rejects(
    world.call('changePool', { params: { pool: 'default' }, body: { layersIn: 'default' } }),
    refused('bad-request'),
  )
  const fast = newPool.parse({ type: 'dir', name: 'fast', path: '/srv/fast' })
  await world.call('createPool', { body: fast })
  const changed = await world.call('changePool', { params: { pool: 'slow' }, body: { layersIn: 'fast' } })
  assert.equal(changed.layersIn, 'fast')
})

test('a pool that does not answer stops a deletion and a way back before anything is done, and the guest runs on', async () => {
  await using world = await openWorld(true)
  await create(world, 'one')
  const { place } = await world.call('getPool', { params: { pool: 'slow' } })
  const one = { ...waiting, params: { ...params, snapshot: 'one' } }

  world.machine.hungFolders.add(place)
  const reverted = await world.call('revertSnapshot', { ...one, body: { keep: false } })
  const deleted = await world.call('deleteSnapshot', one)

  assert.deepEqual([reverted.error?.code, deleted.error?.code], ['pool-unreachable', 'pool-unreachable'])
  assert.equal((await world.vm('web1')).status.state, 'running')
  const [snapshot] = await world.call('listSnapshots', { params })
  assert.equal(snapshot?.state, 'ready')
  world.machine.hungFolders.clear()
  await world.call('refreshPool', { params: { pool: 'slow' } })
  await remove(world, 'one')
})

test('a layer says of which snapshot of which VM it is', async () => {
  await using world = await openWorld(true)
  await create(world, 'one')
  const layer = { pool: 'slow', volume: 'web1-root.one' }

  const { snapshots } = await world.call('getVolume', { params: layer })

  assert.deepEqual(snapshots, [{ vm: 'web1', name: 'one' }])
  await assert.rejects(
    world.call('deleteVolume', { params: layer }),
    /volume slow\/web1-root and snapshot one of VM web1/,
  )
})
