import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, newPool } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const disks = [
  { name: 'root', size: '1GiB' },
  { name: 'data', size: '1GiB' },
] as const
const waiting = { query: { wait: 10 } }

async function snapshotsOf(world: SimulatedDaemon, name = 'web1') {
  const list = await world.call('listSnapshots', { params: { name } })
  return list.map((one) => [one.name, one.parent, one.current, one.state])
}

function create(world: SimulatedDaemon, snapshot: string, quiesce = false, memory = false): Promise<Job> {
  return world.call('createSnapshot', { ...waiting, ...asked(snapshot, quiesce, memory) })
}

/** Has a snapshot begun, and does not wait for it. */
function begin(world: SimulatedDaemon, snapshot: string): Promise<Job> {
  return world.call('createSnapshot', asked(snapshot, false, false))
}

function asked(name: string, quiesce: boolean, memory: boolean) {
  return { params: { name: 'web1' }, body: { name, description: '', quiesce, memory } }
}

function remove(world: SimulatedDaemon, snapshot: string): Promise<Job> {
  return world.call('deleteSnapshot', { ...waiting, params: { name: 'web1', snapshot } })
}

function revert(world: SimulatedDaemon, snapshot: string, keep = false): Promise<Job> {
  return world.call('revertSnapshot', { ...waiting, params: { name: 'web1', snapshot }, body: { keep } })
}

/** The volumes under the disk `root`, top first, by the store. */
async function chain(world: SimulatedDaemon): Promise<readonly string[]> {
  const volumes = await world.call('listVolumes', {})
  const names: string[] = []
  for (let at = volumes.find(({ name }) => name === 'web1-root'); at; ) {
    names.push(at.name)
    const { base } = at
    at = volumes.find(({ name }) => name === base)
  }
  return names
}

/** How many layers the emulator has under the disk `root`. */
function openLayers(world: SimulatedDaemon): number | undefined {
  return world.process('web1').chains.get('root')?.length
}

async function openWorld(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon(options)
  await world.createVm('web1', { disks: [...disks] })
  if (runs) await world.start('web1')
  return world
}

for (const runs of [true, false]) {
  const how = runs ? 'that runs' : 'that is off'

  test(`snapshots of a VM ${how} form a line, and one in the middle can be deleted`, async () => {
    await using world = await openWorld(runs)

    for (const name of ['one', 'two', 'three']) assert.equal((await create(world, name)).state, 'succeeded')
    assert.equal((await chain(world)).length, 4)
    assert.equal((await remove(world, 'two')).state, 'succeeded')

    assert.deepEqual(await snapshotsOf(world), [
      ['one', undefined, false, 'ready'],
      ['three', 'one', true, 'ready'],
    ])
    assert.equal((await chain(world)).length, 3)
    if (runs) assert.equal(openLayers(world), 3)
    assert.equal((await world.call('listVolumes', {})).length, 6)
  })

  test(`a VM ${how} goes back to a snapshot, and forks from there`, async () => {
    await using world = await openWorld(runs)
    await create(world, 'one')
    await create(world, 'two')

    assert.equal((await revert(world, 'one')).state, 'succeeded')
    await create(world, 'three')

    assert.deepEqual(await snapshotsOf(world), [
      ['one', undefined, false, 'ready'],
      ['two', 'one', false, 'ready'],
      ['three', 'one', true, 'ready'],
    ])
    assert.equal((await world.vm('web1')).status.state, runs ? 'running' : 'shutoff')
    assert.equal((await chain(world)).length, 3)
    assert.equal((await remove(world, 'one')).state, 'succeeded')
    assert.equal((await chain(world)).length, 3, 'two layers lie on it, so it stays')
    assert.equal((await remove(world, 'two')).state, 'succeeded')
  })
}

test('a snapshot that cannot be undone while its pool does not answer is when it does', async () => {
  await using world = await openSimulatedDaemon({
    async failpoint(name: FailpointName) {
      if (name === 'snapshot.create.after-row') world.machine.hungFolders.add('/mnt/fast')
    },
  })
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path: '/mnt/fast' }) })
  await world.createVm('web1', { disks: [{ ...disks[0], pool: 'fast' }] })

  const { error } = await create(world, 'one')
  const [left] = await snapshotsOf(world)
  world.machine.hungFolders.clear()
  await world.call('refreshPool', { params: { pool: 'fast' } })

  assert.deepEqual([error?.code, left?.at(-1)], ['pool-unreachable', 'creating'])
  assert.deepEqual(await snapshotsOf(world), [])
  assert.equal((await world.call('listVolumes', {})).length, 1)
  await world.start('web1')
})

test('what a guest has in the page cache is written before the moment, but not for ever', async () => {
  await using world = await openWorld(true)
  const { flushesMs } = world.machine
  flushesMs.push(...Array.from({ length: 4 }, () => 30))
  await create(world, 'one')
  assert.equal(flushesMs.length, 0)

  flushesMs.push(...Array.from({ length: 20 }, () => 30))
  assert.equal((await create(world, 'two')).state, 'succeeded')
  assert.equal(flushesMs.length, 20 - 6 * disks.length)
})

test('what the disks held can be kept when a VM goes back', async () => {
  await using world = await openWorld(false)
  await create(world, 'one')
  const before = (await world.call('listVolumes', {})).length

  await revert(world, 'one', true)

  assert.equal((await world.call('listVolumes', {})).length, before + 2)
})

test('a name is given once, and what is not there is not found', async () => {
  await using world = await openWorld(false)
  await create(world, 'one')

  await assert.rejects(create(world, 'one'), { code: 'name-taken' })
  await assert.rejects(remove(world, 'two'), { code: 'snapshot-not-found' })
  await assert.rejects(revert(world, 'two'), { code: 'snapshot-not-found' })
})

test('a guest is thawed whether its snapshot was taken or not', async () => {
  await using world = await openWorld(true)
  const process = world.process('web1')
  process.agentComes()

  assert.equal((await create(world, 'quiet', true)).state, 'succeeded')
  assert.equal(process.isFrozen, false)
  assert.equal(process.disks.openedFrozen, false, 'Nobody waits while layers are opened.')
  process.agentGoes()

  const job = await create(world, 'never', true)
  assert.equal(job.error?.code, 'guest-agent-unavailable')
  assert.deepEqual(await snapshotsOf(world), [['quiet', undefined, true, 'ready']])
})

test('a VM takes its snapshots with it when it is deleted', async () => {
  await using world = await openWorld(false)
  for (const name of ['one', 'two']) await create(world, name)
  await revert(world, 'one')

  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: true } })

  assert.deepEqual(await world.call('listVolumes', {}), [])
  assert.equal(world.machine.volumes.size, 0)
})

const points: readonly FailpointName[] = [
  'snapshot.create.after-row',
  'snapshot.create.after-volume-file',
  'snapshot.create.before-switch',
  'snapshot.create.after-switch',
]

for (const point of points)
  for (const end of ['the daemon dies', 'the daemon and the emulator die', 'the step fails'] as const)
    test(`when ${end} at ${point}, store and emulator agree afterwards`, async () => {
      let isArmed = false
      const failpoint = async (name: FailpointName) => {
        if (!isArmed || name !== point) return
        if (end === 'the step fails') throw new Error('a step failed')
        await new Promise(() => {}) // The daemon does no more.
      }
      await using first = await openWorld(true, { failpoint })
      isArmed = true
      if (end === 'the step fails') assert.equal((await create(first, 'one')).state, 'failed')
      else {
        // Nobody waits for the job: it never ends, and would hold its caller for as long as that would.
        await begin(first, 'one')
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      isArmed = false
      if (end === 'the daemon and the emulator die')
        first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

      await using world = end === 'the step fails' ? first : await first.killAndFollow()

      const taken = (await snapshotsOf(world)).length
      assert.equal((await chain(world)).length, taken + 1)
      if (end !== 'the daemon and the emulator die') assert.equal(openLayers(world), taken + 1)
      assert.equal((await world.call('listVolumes', {})).length, world.machine.volumes.size)
      assert.equal((await create(world, taken === 0 ? 'one' : 'two')).state, 'succeeded')
    })

test('an emulator that dies while it goes over to overlays leaves a VM that starts with them', async () => {
  const hooks = { onSwitch: () => {} }
  const failpoint = async (name: FailpointName) => {
    if (name === 'snapshot.create.before-switch') hooks.onSwitch()
  }
  await using world = await openWorld(true, { failpoint })
  hooks.onSwitch = () => world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  const job = await create(world, 'one')
  hooks.onSwitch = () => {}
  while ((await world.vm('web1')).status.state !== 'crashed')
    await new Promise((resolve) => setTimeout(resolve, 5))

  assert.equal(job.error?.code, 'emulator-unresponsive')
  assert.deepEqual(await snapshotsOf(world), [['one', undefined, true, 'ready']])
  assert.equal((await chain(world)).length, 2)
  await world.start('web1')
  assert.equal(openLayers(world), 2)
})

test('a snapshot with memory is gone back to as a guest that goes on', async () => {
  await using world = await openWorld(true)

  const made = await create(world, 'one', false, true)
  assert.equal(made.state, 'succeeded', String(made.error?.detail))
  assert.equal((await world.vm('web1')).status.state, 'running')
  const [snapshot] = await world.call('listSnapshots', { params: { name: 'web1' } })
  assert.ok((snapshot?.memoryBytes ?? 0) > 0)
  assert.equal((await revert(world, 'one')).state, 'succeeded')

  assert.match(String((await world.vm('web1')).status.reason), /saved memory was loaded/)
  assert.equal(world.machine.memories.size, 1)
  assert.equal(world.machine.saves.size, 0)
  await remove(world, 'one')
  assert.equal(world.machine.memories.size, 0)
})

test('a snapshot whose memory finds no room is deleted again, and the guest goes on', async () => {
  await using world = await openWorld(true)
  world.machine.freeBytes = 300 * 2 ** 20

  const made = await create(world, 'one', false, true)

  assert.equal(made.error?.code, 'not-enough-space')
  while ((await snapshotsOf(world)).length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal((await world.vm('web1')).status.state, 'running')
  assert.equal((await chain(world)).length, 1)
  assert.equal(openLayers(world), 1)
})

test('a VM that is off has no memory to take a snapshot of, and can go back to a snapshot that has', async () => {
  await using world = await openWorld(true)
  await create(world, 'one', false, true)
  await world.call('powerOffVm', { params: { name: 'web1' } })

  const refused = await create(world, 'two', false, true)
  assert.equal(refused.error?.code, 'wrong-state')
  await revert(world, 'one')

  assert.equal((await world.vm('web1')).status.state, 'saved')
  await world.start('web1')
  assert.match((await world.vm('web1')).status.reason, /saved memory was loaded/)
})
