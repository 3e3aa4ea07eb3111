import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { breakOffAt, type End, ends } from '../../testing/break-off.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** What sleeps sleeps so many times shorter, and who waits for a job is as many times more patient. */
const hurry = 50
const waiting = { query: { wait: 60 * hurry } }
const params = { name: 'web1' }
const disks = [
  { name: 'root', size: '1GiB' },
  { name: 'data', size: '1GiB' },
] as const

function exported(world: SimulatedDaemon, more: { disks?: string[]; quiesce?: boolean } = {}): Promise<Job> {
  return world.call('exportVm', {
    params,
    ...waiting,
    body: { name: 'monday', speed: 0, quiesce: false, ...more },
  })
}

async function openWorld(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  await world.createVm('web1', { disks: [...disks] })
  if (runs) await world.call('startVm', { params, ...waiting })
  return world
}

/** The names of all volumes, none of which anything is done to; what the emulator has open is its disks alone. */
async function volumes(world: SimulatedDaemon): Promise<readonly string[]> {
  const rows = world.daemon.context.ports.store.volumes.list()
  assert.ok(
    rows.every(({ phase, work, move }) => phase === 'ready' && work === undefined && move === undefined),
  )
  assert.deepEqual([...world.machine.volumes.keys()].toSorted(), rows.map(({ id }) => id).toSorted())
  const { state } = (await world.vm('web1')).status
  if (state === 'running') assert.equal(world.process('web1').disks.mirrors.size, 0)
  return rows.map(({ name }) => name).toSorted()
}

for (const runs of [true, false])
  test(`the disks of a VM that ${runs ? 'runs' : 'is off'} are copied to volumes of their own`, async () => {
    await using world = await openWorld(runs)

    const job = await exported(world)

    assert.equal(job.state, 'succeeded', String(job.error?.detail))
    assert.equal(job.result, 'web1-root.monday, web1-data.monday')
    assert.deepEqual(await volumes(world), ['web1-data', 'web1-data.monday', 'web1-root', 'web1-root.monday'])
    await assert.rejects(exported(world), { code: 'name-taken' })
    await assert.rejects(exported(world, { disks: ['none'] }), { code: 'volume-not-found' })
  })

test('a guest that is frozen for an export writes again, and one that cannot be is not exported', async () => {
  await using world = await openWorld(true)
  const process = world.process('web1')
  process.hasAgent = false
  process.agentGoes()

  const refused = await exported(world, { quiesce: true })
  assert.equal(refused.error?.code, 'guest-agent-unavailable', JSON.stringify(refused))
  assert.deepEqual(await volumes(world), ['web1-data', 'web1-root'])
  process.agentComes()
  assert.equal((await exported(world, { quiesce: true, disks: ['data'] })).state, 'succeeded')

  assert.equal(process.isFrozen, false)
  assert.deepEqual(await volumes(world), ['web1-data', 'web1-data.monday', 'web1-root'])
})

for (const end of ends)
  test(`at whichever step of an export ${end}, it was done or nothing of it is left`, async () => {
    const points = failpointNames.filter((name) => name.startsWith('vm.export.'))

    const all = await Promise.allSettled(points.map((point) => breakOff(point, end)))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${points[index]}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

async function breakOff(point: FailpointName, end: End): Promise<void> {
  await using world = await breakOffAt(point, end, {
    open: (options) => openWorld(true, options),
    runs: true,
    begin: (first, { isDeath }) =>
      isDeath
        ? first.call('exportVm', { params, query: {}, body: { name: 'monday', speed: 0, quiesce: false } })
        : exported(first),
  })

  const { store } = world.daemon.context.ports
  const isStill = () =>
    world.daemon.context.jobs.running() === 0 &&
    store.volumes.list().every(({ phase, work: begun }) => phase === 'ready' && begun === undefined)
  for (let turn = 0; !isStill(); turn++) {
    assert.ok(turn < 3_000, 'Something is under way for ever.')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const left = await volumes(world)
  assert.ok(left.length === 2 || left.length === 4, left.join(', '))
  if (left.length === 2 && !end.includes('emulator')) assert.equal((await exported(world)).state, 'succeeded')
}
