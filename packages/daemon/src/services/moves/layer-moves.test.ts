/** Moves of disks that have snapshots: their layers go along. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool, newVolume } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { breakOffAt, type End, ends } from '../../testing/break-off.ts'
import {
  hurry,
  move,
  params,
  patience,
  revert,
  snapshot,
  volumes,
  waiting,
} from '../../testing/layered-disk.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** A VM whose disk has two snapshots, the first with memory if it runs, and a second pool. */
async function openWorld(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path: '/mnt/fast' }) })
  await world.createVm('web1', { disks: [{ name: 'data', size: '64MiB' }] })
  if (runs) await world.call('startVm', { params, ...waiting })
  await snapshot(world, 'one', runs)
  await snapshot(world, 'two')
  return world
}

/** A VM whose disk has two snapshots, on a volume of a pool that has no layers itself. */
async function openGround(type: 'lvm' | 'iscsi', runs: boolean): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry })
  const iscsi = { type, server: '192.0.2.1', target: 'iqn.2026-11.example:a', name: 'ground' }
  const place = type === 'lvm' ? { type, name: 'ground', vg: 'vg0' } : iscsi
  for (const pool of [place, { type: 'dir', name: 'fast', path: '/mnt/fast' }])
    await world.call('createPool', { body: newPool.parse(pool) })
  if (type === 'iscsi') {
    const folder = '/simulated/192.0.2.1/iqn.2026-11.example:a'
    const lun = { capacityBytes: 64 * 2 ** 20, allocatedBytes: 0, basePath: undefined, folder, file: 'lun-1' }
    world.machine.volumes.set('theirs', lun)
    const body = { name: 'data', file: 'lun-1', format: 'raw' as const, force: false }
    await world.call('importVolume', { params: { pool: 'ground' }, body })
  }
  const disk = type === 'iscsi' ? { volume: 'data' } : { size: '64MiB' }
  await world.createVm('web1', { disks: [{ name: 'data', pool: 'ground', ...disk }] })
  if (runs) await world.call('startVm', { params, ...waiting })
  await snapshot(world, 'one', runs)
  await snapshot(world, 'two')
  return world
}

const inFast = [
  'fast/web1-data on web1-data.two',
  'fast/web1-data.one',
  'fast/web1-data.two on web1-data.one',
]

for (const runs of [true, false])
  test(`a disk of a VM that ${runs ? 'runs' : 'is off'} moves with the layers of its snapshots, which go on being snapshots`, async () => {
    await using world = await openWorld(runs)

    const job = await move(world)

    assert.equal(job.state, 'succeeded', String(job.error?.detail))
    assert.deepEqual(await volumes(world), inFast)
    await revert(world, 'one')
    await snapshot(world, 'three')
    assert.equal((await volumes(world)).length, 4)
    for (const name of ['two', 'one', 'three']) {
      const deleted = await world.call('deleteSnapshot', {
        params: { ...params, snapshot: name },
        ...waiting,
      })
      assert.equal(deleted.state, 'succeeded', String(deleted.error?.detail))
    }
    assert.deepEqual(await volumes(world), ['fast/web1-data'])
  })

test('layers of another branch go along, and there and back nothing is left behind', async () => {
  await using world = await openWorld(true)
  await revert(world, 'one')
  const before = await volumes(world)

  for (const pool of ['fast', 'default']) {
    const job = await move(world, { pool })
    assert.equal(job.state, 'succeeded', String(job.error?.detail))
    const expected = before.map((words) => words.replace(/^default/, pool))
    assert.deepEqual(await volumes(world), expected)
  }
})

for (const type of ['lvm', 'iscsi'] as const)
  for (const runs of [true, false])
    test(`a disk of a VM that ${runs ? 'runs' : 'is off'} goes from ${type} to files with all its layers`, async () => {
      await using world = await openGround(type, runs)
      await revert(world, 'one')
      await snapshot(world, 'three')
      await revert(world, 'two')

      const job = await move(world)

      assert.equal(job.state, 'succeeded', String(job.error?.detail))
      const left = (await volumes(world)).filter((words) => !words.startsWith('fast/'))
      assert.deepEqual(left, type === 'iscsi' ? ['ground/data.one'] : [])
      const { store } = world.daemon.context.ports
      const moved = store.volumes.list().filter(({ pool }) => pool === 'fast')
      assert.equal(moved.length, 4)
      assert.deepEqual(
        moved
          .flatMap(({ liesIn, baseId, format }) => [liesIn, baseId === undefined ? format : undefined])
          .filter(Boolean),
        ['raw'],
      )
      await revert(world, 'one')
      for (const name of ['two', 'one', 'three'])
        await world.call('deleteSnapshot', { params: { ...params, snapshot: name }, ...waiting })
      assert.equal((await volumes(world)).filter((words) => words.startsWith('fast/')).length <= 2, true)
    })

test('layers go along all of them, as qcow2 among files, and into nothing that is there', async () => {
  await using world = await openWorld(true)
  const add = (name: string) =>
    world.call('createVolume', {
      params: { pool: 'fast' },
      body: newVolume.parse({ name, size: '64MiB', format: 'raw' }),
    })
  await add('spare')

  await assert.rejects(move(world, { format: 'raw' }), /is qcow2/)
  await assert.rejects(move(world, { pool: 'default', format: 'raw' }), /stay in their pool/)
  await assert.rejects(move(world, { volume: 'spare' }), /takes in only one layer/)
  await add('web1-data.one')
  assert.equal((await move(world)).state, 'succeeded')
  assert.deepEqual(await volumes(world), [
    'fast/spare',
    'fast/web1-data on web1-data.two',
    'fast/web1-data.one',
    'fast/web1-data.one-2',
    'fast/web1-data.two on web1-data.one-2',
  ])
})

test('a VM that is powered off while layers are copied keeps them where they are', async () => {
  await using world = await openWorld(true)
  world.machine.stepMs = 20_000
  const moving = move(world)
  const { store } = world.daemon.context.ports
  for (let turn = 0; !store.volumes.list().some(({ move: begun }) => begun?.layerOf); turn++) {
    assert.ok(turn < 3_000, 'It is copied.')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }

  await world.call('powerOffVm', { params })

  assert.equal((await moving).error?.code, 'wrong-state')
  assert.deepEqual(
    await volumes(world),
    inFast.map((words) => words.replace('fast/', 'default/')),
  )
})

for (const end of ends)
  test(`at whichever step ${end}, the disk and all its layers are in one pool`, async () => {
    const points = failpointNames.filter((name) => name.startsWith('vm.move.'))
    const off: readonly FailpointName[] = ['vm.move.after-row', 'vm.move.after-layer', 'vm.move.after-file']
    const cases = [
      ...points.map((point) => ({ point, runs: true })),
      ...(end.includes('emulator') ? [] : off.map((point) => ({ point, runs: false }))),
    ]

    const all = await Promise.allSettled(cases.map((one) => breakOff({ ...one, end })))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${JSON.stringify(cases[index])}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

interface Case {
  readonly point: FailpointName
  readonly runs: boolean
  readonly end: End
}

/** Moves a disk, breaks that off at a point, and looks at what has become of it. */
async function breakOff({ point, runs, end }: Case): Promise<void> {
  await using world = await breakOffAt(point, end, {
    open: (options) => openWorld(runs, options),
    runs,
    begin: (first, { isDeath }) => move(first, {}, isDeath ? 0 : patience),
  })

  const { store } = world.daemon.context.ports
  const isStill = async () =>
    world.daemon.context.jobs.running() === 0 &&
    store.volumes.list().length === 3 &&
    store.volumes.list().every(({ work, move: begun }) => !work && !begun) &&
    (!end.includes('emulator') || (await world.vm('web1')).status.state === 'crashed')
  for (let turn = 0; !(await isStill()); turn++) {
    assert.ok(turn < 3_000, `Something is under way for ever: ${JSON.stringify(store.volumes.list())}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const left = await volumes(world)
  const inDefault = inFast.map((words) => words.replace('fast/', 'default/'))
  if (left[0]?.startsWith('fast')) assert.deepEqual(left, inFast)
  else {
    assert.deepEqual(left, inDefault)
    assert.equal((await move(world)).state, 'succeeded')
  }
}
