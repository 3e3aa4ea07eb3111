/** Snapshots of VMs whose disks lie in a pool with snapshots of its own: the same words, the same result, and no chain. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const thinDisks = [
  { name: 'root', pool: 'thin', size: '1GiB' },
  { name: 'data', pool: 'thin', size: '1GiB' },
] as const
const params = { name: 'web1' }
/** Seconds for a job, however slow the machine is. */
const patience = 60
const waiting = { query: { wait: patience } }

interface Opening {
  readonly runs: boolean
  readonly disks?: readonly { readonly name: string; readonly pool?: string; readonly size: string }[]
  readonly failpoint?: (name: FailpointName) => Promise<void>
  readonly type?: PoolType
}

const pools = {
  'lvm-thin': { type: 'lvm-thin', name: 'thin', vg: 'vg0', thinPool: 'pool0' },
  rbd: { type: 'rbd', name: 'thin', monitors: ['127.0.0.1'], cephPool: 'rbd' },
} as const
type PoolType = keyof typeof pools

async function openWorld({
  runs,
  disks = thinDisks,
  type = 'lvm-thin',
  ...options
}: Opening): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon(options)
  await world.call('createPool', { body: newPool.parse(pools[type]) })
  await world.createVm('web1', { disks: [...disks] })
  if (runs) await world.start('web1')
  return world
}

function begin(world: SimulatedDaemon, name: string, query = {}) {
  const body = { name, description: '', quiesce: false, memory: false }
  return world.call('createSnapshot', { params, query, body })
}

async function create(world: SimulatedDaemon, name: string): Promise<void> {
  assert.equal((await begin(world, name, { wait: patience })).state, 'succeeded')
}

async function volumesOf(world: SimulatedDaemon): Promise<readonly string[]> {
  const all = await world.call('listVolumes', {})
  return all.map(({ name, base, frozen }) => `${name}${base ? ` on ${base}` : ''}${frozen ? ' frozen' : ''}`)
}

async function snapshotsOf(world: SimulatedDaemon) {
  const list = await world.call('listSnapshots', { params })
  return list.map((one) => [one.name, one.parent, one.current, one.state])
}

for (const runs of [true, false]) {
  const how = runs ? 'that runs' : 'that is off'

  test(`a VM ${how} goes on with its volumes, and a snapshot in the middle just goes`, async () => {
    await using world = await openWorld({ runs })

    for (const name of ['one', 'two', 'three']) await create(world, name)
    const dropped = await world.call('deleteSnapshot', { ...waiting, params: { ...params, snapshot: 'two' } })

    assert.equal(dropped.state, 'succeeded')
    assert.deepEqual(await snapshotsOf(world), [
      ['one', undefined, false, 'ready'],
      ['three', 'one', true, 'ready'],
    ])
    assert.deepEqual(await volumesOf(world), [
      'web1-data',
      'web1-data.one frozen',
      'web1-data.three frozen',
      'web1-root',
      'web1-root.one frozen',
      'web1-root.three frozen',
    ])
    assert.equal((await world.vm('web1')).status.state, runs ? 'running' : 'shutoff')
    if (runs) assert.equal(world.process('web1').chains.get('root')?.length, 1)
  })

  test(`a VM ${how} goes back to a snapshot, which stays`, async () => {
    await using world = await openWorld({ runs })
    await create(world, 'one')

    const job = await world.call('revertSnapshot', {
      ...waiting,
      params: { ...params, snapshot: 'one' },
      body: { keep: false },
    })

    assert.equal(job.state, 'succeeded')
    assert.deepEqual(await volumesOf(world), [
      'web1-data',
      'web1-data.one frozen',
      'web1-root',
      'web1-root.one frozen',
    ])
    assert.equal((await world.vm('web1')).status.state, runs ? 'running' : 'shutoff')
    assert.deepEqual(await snapshotsOf(world), [['one', undefined, true, 'ready']])
  })
}

test('a disk that is a file is laid under an overlay in the same snapshot', async () => {
  await using world = await openWorld({
    runs: true,
    disks: [{ name: 'root', size: '1GiB' }, { ...thinDisks[1] }],
  })

  await create(world, 'one')

  assert.deepEqual(await volumesOf(world), [
    'web1-root on web1-root.one',
    'web1-root.one frozen',
    'web1-data',
    'web1-data.one frozen',
  ])
  assert.equal((await world.vm('web1')).status.state, 'running')
})

test('a VM that goes takes its snapshots along', async () => {
  await using world = await openWorld({ runs: false })
  await create(world, 'one')

  await world.call('deleteVm', { params, query: { disks: true } })

  assert.deepEqual(await volumesOf(world), [])
})

interface Death {
  readonly type: PoolType
  readonly runs: boolean
  /** Where, at which time there, and whether the snapshot has happened then. */
  readonly points: readonly (readonly [point: FailpointName, times: number, isTaken: boolean])[]
}

const cloned: Death['points'] = [
  ['snapshot.create.after-row', 1, false],
  ['snapshot.create.before-switch', 1, false],
  ['snapshot.create.after-volume-file', 1, false],
  ['snapshot.create.after-volume-file', 2, true],
  ['snapshot.create.after-switch', 1, true],
]
const kept: Death['points'] = [
  ['snapshot.create.before-switch', 1, false],
  ['snapshot.create.after-moment', 1, true],
  ['snapshot.create.after-volume-file', 1, true],
  ['snapshot.create.after-switch', 1, true],
]
const deaths: readonly Death[] = [
  { type: 'lvm-thin', runs: true, points: cloned },
  { type: 'lvm-thin', runs: false, points: cloned },
  { type: 'rbd', runs: true, points: kept },
]

for (const { type, runs, points } of deaths)
  for (const [point, times, isTaken] of points)
    test(`a daemon that dies at ${point} (${times}) of a VM in pool ${type} that ${runs ? 'runs' : 'is off'} is followed by one with the whole snapshot or none`, async () => {
      const reached = Promise.withResolvers<void>()
      let left = times
      const first = await openWorld({
        runs,
        type,
        async failpoint(name) {
          if (name !== point || --left > 0) return
          reached.resolve()
          await new Promise(() => {})
        },
      })
      begin(first, 'one').catch(() => {})
      await reached.promise

      await using world = await first.killAndFollow()

      assert.deepEqual(await snapshotsOf(world), isTaken ? [['one', undefined, true, 'ready']] : [])
      assert.equal((await volumesOf(world)).length, isTaken ? 4 : 2)
      assert.equal((await world.vm('web1')).status.state, runs ? 'running' : 'shutoff')
      assert.deepEqual([...world.machine.keptForCopies], [])
      assert.equal(world.machine.volumes.size, isTaken ? 4 : 2)
    })

test('a clone that cannot be made yet of what was kept is made before the next snapshot', async () => {
  let isArmed = true
  await using world = await openWorld({
    runs: true,
    type: 'rbd',
    disks: [{ name: 'root', size: '1GiB' }, { ...thinDisks[1] }],
    async failpoint(name) {
      if (name !== 'snapshot.create.after-moment' || !isArmed) return
      isArmed = false
      world.machine.hungFolders.add('/simulated/rbd')
    },
  })

  const first = await begin(world, 'one', { wait: patience })
  world.machine.hungFolders.clear()
  await world.call('refreshPool', { params: { pool: 'thin' } })
  await create(world, 'two')

  assert.equal(first.error?.code, 'pool-unreachable')
  assert.deepEqual(await snapshotsOf(world), [
    ['one', undefined, false, 'ready'],
    ['two', 'one', true, 'ready'],
  ])
  assert.deepEqual([...world.machine.keptForCopies], [])
})

test('a snapshot that a dead emulator and a pool that does not answer leave open is settled when the pool answers', async () => {
  let isArmed = true
  await using world = await openWorld({
    runs: true,
    type: 'rbd',
    async failpoint(name) {
      if (name !== 'snapshot.create.after-moment' || !isArmed) return
      isArmed = false
      world.machine.hungFolders.add('/simulated/rbd')
    },
  })
  const failed = await begin(world, 'one', { wait: patience })
  world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })
  const before = await snapshotsOf(world)

  world.machine.hungFolders.clear()
  await world.call('refreshPool', { params: { pool: 'thin' } })

  assert.equal(failed.error?.code, 'pool-unreachable')
  assert.equal(before[0]?.at(-1), 'creating')
  assert.deepEqual(await snapshotsOf(world), [['one', undefined, true, 'ready']])
  assert.deepEqual([...world.machine.keptForCopies], [])
})
