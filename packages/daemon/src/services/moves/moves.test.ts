import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, newPool } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { breakOffAt, type End, ends } from '../../testing/break-off.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** What sleeps sleeps so many times shorter, and who waits for a job is as many times more patient. */
const hurry = 50
const patience = 60 * hurry
const disks = [{ name: 'data', size: '1GiB' }] as const
const params = { name: 'web1', disk: 'data' }
const plain = { pool: 'fast' } as const
const usual = { speed: 0, keep: false, force: false }

function move(
  world: SimulatedDaemon,
  body: { pool?: string; format?: 'raw'; keep?: boolean } = plain,
  wait = patience,
): Promise<Job> {
  return world.call('moveDisk', { params, query: { wait }, body: { ...usual, ...body } })
}

/** Waits until something is so, however slow the machine is. */
async function eventually(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `Waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function start(world: SimulatedDaemon): Promise<Job> {
  return world.call('startVm', { params: { name: 'web1' }, query: { wait: patience } })
}

/** A VM with a disk, and a second pool. */
async function openWorld(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  await world.call('createPool', {
    body: newPool.parse({ type: 'dir', name: 'fast', path: '/mnt/fast' }),
  })
  await world.createVm('web1', { disks: [...disks] })
  if (runs) await start(world)
  return world
}

/** Where the disk is by the store, and by the emulator: its volume's pool and format, and how long its chain is. */
async function whereIs(world: SimulatedDaemon) {
  const [disk] = (await world.vm('web1')).spec.disks
  const volume = world.daemon.context.ports.store.volumes.find(disk?.pool ?? '', disk?.volume ?? '')
  return {
    pool: disk?.pool,
    format: volume?.format,
    phase: volume?.phase,
    id: volume?.id,
    work: volume?.work,
  }
}

/** Store, pools and emulator agree on one volume, and nothing else is there. */
async function assertOneVolume(world: SimulatedDaemon): Promise<void> {
  const rows = world.daemon.context.ports.store.volumes.list()
  assert.deepEqual(
    rows.map(({ name, phase, work, move }) => [name, phase, work, move]),
    [['web1-data', 'ready', undefined, undefined]],
  )
  assert.deepEqual([...world.machine.volumes.keys()], [rows[0]?.id])
  const { state } = (await world.vm('web1')).status
  if (state !== 'running') return
  const [top = '', ...below] = world.process('web1').chains.get('data') ?? []
  assert.ok(top.includes(rows[0]?.id ?? 'none'), `The emulator has ${top}.`)
  assert.deepEqual(below, [])
  assert.equal(world.process('web1').disks.mirrors.size, 0)
}

for (const runs of [true, false])
  test(`a disk of a VM that ${runs ? 'runs' : 'is off'} moves to another pool and format, and keeps its name`, async () => {
    await using world = await openWorld(runs)
    const before = await whereIs(world)

    const job = await move(world, { ...plain, format: 'raw' })

    assert.equal(job.state, 'succeeded', String(job.error?.detail))
    const after = await whereIs(world)
    assert.deepEqual([after.pool, after.format], ['fast', 'raw'])
    assert.notEqual(after.id, before.id)
    assert.deepEqual((await world.vm('web1')).status.restartNeeded ?? [], [])
    await assertOneVolume(world)
  })

for (const runs of [true, false])
  test(`the former volume of a VM that ${runs ? 'runs' : 'is off'} is kept on request`, async () => {
    await using world = await openWorld(runs)

    await move(world, { ...plain, keep: true })

    const volumes = await world.call('listVolumes', {})
    assert.deepEqual(
      volumes.map(({ name, pool, usedBy }) => [name, pool, usedBy]),
      [
        ['web1-data', 'default', []],
        ['web1-data', 'fast', ['web1']],
      ],
    )
  })

test('a disk that changes its format stays in its pool, and what it left has another name', async () => {
  await using world = await openWorld(true)

  await move(world, { format: 'raw', keep: true })

  const volumes = await world.call('listVolumes', {})
  assert.deepEqual(
    volumes.map(({ name, format }) => [name, format]),
    [
      ['web1-data', 'raw'],
      ['web1-data.old', 'qcow2'],
    ],
  )
})

test('a disk that moves is not snapshotted, saved, moved again or taken away, and its volume is not worked on', async () => {
  await using world = await openWorld(true)
  world.process('web1').disks.copies = 'never to the end'
  const job = await move(world, plain, 0)
  await eventually(() => world.process('web1').disks.mirrors.size === 1, 'it is copied')

  const snapshot = await world.call('createSnapshot', {
    params: { name: 'web1' },
    query: { wait: patience },
    body: { name: 'one', description: '', quiesce: false, memory: false },
  })
  assert.equal(snapshot.error?.code, 'busy')
  assert.equal(
    (await world.call('saveVm', { params: { name: 'web1' }, query: { wait: patience } })).error?.code,
    'busy',
  )
  await assert.rejects(move(world), { code: 'busy' })
  const { spec } = await world.vm('web1')
  await assert.rejects(
    world.call('applyVm', { params: { name: 'web1' }, body: { spec: { ...spec, disks: [] } } }),
    { code: 'busy' },
  )
  await assert.rejects(
    world.call('resizeVolume', {
      params: { pool: 'default', volume: 'web1-data' },
      body: { size: 2 ** 31, shrink: false },
    }),
    { code: 'busy' },
  )
  await world.call('setMoveSpeed', { params, body: { speed: 1024 } })

  await world.call('cancelJob', { params: { id: job.id } })
  await eventually(
    async () => (await world.call('getJob', { params: { id: job.id }, query: {} })).state === 'cancelled',
    'it ends',
  )
  await assertOneVolume(world)
  assert.equal((await whereIs(world)).pool, 'default')
})

test('a guest that writes too fast is held back until its disk has moved, and no longer', async () => {
  await using world = await openWorld(true)
  const { disks: guest } = world.process('web1')
  guest.copies = 'never to the end'
  const job = await move(world, plain, 0)
  await eventually(() => guest.mirrors.size === 1, 'it is copied')

  await eventually(() => {
    world.skip(2_000)
    return guest.limits.has('data')
  }, 'the guest is held back')
  guest.copies = 'well'

  const ended = await world.call('getJob', { params: { id: job.id }, query: { wait: patience } })
  assert.equal(ended.state, 'succeeded', String(ended.error?.detail))
  assert.equal(guest.limits.has('data'), false)
})

test('a pool that fills up leaves the disk where it is', async () => {
  await using world = await openWorld(true)
  world.process('web1').disks.copies = 'to a full disk'

  assert.equal((await move(world)).error?.code, 'not-enough-space')

  await assertOneVolume(world)
  assert.equal((await whereIs(world)).pool, 'default')
})

test('a pool that hangs leaves the disk where it is, and what was copied goes when the pool answers', async () => {
  await using world = await openWorld(true)
  const { disks: guest } = world.process('web1')
  guest.copies = 'stands still'
  const moving = move(world)
  await eventually(() => guest.mirrors.size === 1, 'it is copied')
  world.machine.hungFolders.add('/mnt/fast')

  const skipping = setInterval(() => world.skip(3_000), 10)
  const job = await moving
  clearInterval(skipping)

  assert.equal(job.error?.code, 'pool-unreachable', String(job.error?.detail))
  assert.equal((await whereIs(world)).pool, 'default')
  assert.equal((await whereIs(world)).work, undefined)
  world.machine.hungFolders.delete('/mnt/fast')
  await world.call('refreshPool', { params: { pool: 'fast' } })
  await eventually(() => world.machine.volumes.size === 1, 'the copy is gone')
})

test('what cannot be moved is refused, with a reason', async () => {
  await using world = await openWorld(true)

  await assert.rejects(move(world, { pool: 'default' }), /already/)
  await assert.rejects(move(world, { pool: 'none' }), { code: 'pool-not-found' })
  await assert.rejects(
    world.call('moveDisk', { params: { ...params, disk: 'x' }, query: {}, body: { ...usual, ...plain } }),
    /not there/,
  )
  await assert.rejects(world.call('setMoveSpeed', { params, body: { speed: 1 } }), { code: 'wrong-state' })
  await world.call('createSnapshot', {
    params: { name: 'web1' },
    query: { wait: patience },
    body: { name: 'one', description: '', quiesce: false, memory: false },
  })
  await assert.rejects(move(world, { format: 'raw' }), /snapshot one/)
})

test('a VM that is powered off while its disk moves keeps the disk where it was', async () => {
  await using world = await openWorld(true)
  world.process('web1').disks.copies = 'never to the end'
  const moving = move(world)
  await eventually(() => world.process('web1').disks.mirrors.size === 1, 'it is copied')

  await world.call('powerOffVm', { params: { name: 'web1' } })

  assert.equal((await moving).error?.code, 'wrong-state')
  await assertOneVolume(world)
  assert.equal((await start(world)).state, 'succeeded')
})

// Layers are copied in layer-moves.test.ts.
const points = failpointNames.filter((name) => /^vm\.move\.(?!after-layer)/.test(name))
for (const end of ends)
  test(`at whichever step ${end}, the disk is one volume, which store and emulator agree on`, async () => {
    const all = await Promise.allSettled(points.map((point) => breakOff(point, end)))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${points[index]}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

/** Moves a disk, breaks that off at a point, and looks at what has become of it. */
async function breakOff(point: FailpointName, end: End): Promise<void> {
  await using world = await breakOffAt(point, end, {
    open: (options) => openWorld(true, options),
    runs: true,
    begin: (first, { isDeath }) => move(first, plain, isDeath ? 0 : patience),
  })

  await eventually(() => {
    const { store } = world.daemon.context.ports
    return world.daemon.context.jobs.running() === 0 && store.volumes.list().length === 1
  }, 'nothing is under way')
  const { pool } = await whereIs(world)
  assert.ok(pool === 'fast' || pool === 'default')
  if (end.includes('emulator')) {
    await eventually(async () => (await world.vm('web1')).status.state === 'crashed', 'it has crashed')
    await assertOneVolume(world)
    assert.equal((await start(world)).state, 'succeeded')
  }
  await assertOneVolume(world)
  if (pool === 'default') assert.equal((await move(world)).state, 'succeeded')
  await assertOneVolume(world)
}

test('what the page cache holds is flushed before a snapshot of a disk that came to it while its VM ran', async () => {
  await using world = await openWorld(false)
  await world.call('createPool', {
    body: newPool.parse({ type: 'nfs', name: 'shelf', server: 'shelf', export: '/vms' }),
  })
  const { flushesMs } = world.machine
  const flushes = async (snapshot: string) => {
    flushesMs.splice(0, flushesMs.length, 0)
    const body = { name: snapshot, description: '', quiesce: false, memory: false }
    await world.call('createSnapshot', { params: { name: 'web1' }, body, query: { wait: patience } })
    return flushesMs.length === 0
  }
  await move(world, { pool: 'shelf' })
  await start(world)
  assert.equal(await flushes('one'), false)

  assert.equal((await move(world)).state, 'succeeded')

  assert.equal(await flushes('two'), true)
})
