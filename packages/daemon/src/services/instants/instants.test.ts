import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { type ChangedPiece, type Instant, KvasirError, type NewInstant, newInstant } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** What sleeps sleeps so many times shorter, and who waits is as many times more patient. */
const hurry = 50
const params = { name: 'web1' }
const disks = [
  { name: 'root', size: '1GiB' },
  { name: 'data', size: '1GiB' },
] as const

async function openWorld(options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  await world.createVm('web1', { disks: [...disks] })
  await world.call('startVm', { params, query: { wait: 60 * hurry } })
  return world
}

async function keep(world: SimulatedDaemon, wanted: Partial<NewInstant> = {}): Promise<Instant> {
  const { id } = await world.call('createInstant', { params, body: newInstant.parse(wanted) })
  for (;;) {
    const found = (await world.call('listInstants', { params })).find((one) => one.id === id)
    if (!found) throw new Error('The instant ended.')
    if (found.copied === 1) return found
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

async function end(world: SimulatedDaemon, { id }: Instant): Promise<void> {
  await world.call('endInstant', { params: { ...params, instant: id } })
}

async function read(
  world: SimulatedDaemon,
  { id }: Instant,
  disk = 'root',
): Promise<readonly ChangedPiece[]> {
  const sent = await world.call('readInstant', { params: { ...params, instant: id, disk } })
  if (typeof sent !== 'object' || sent === null || !('pieces' in sent))
    throw new Error('These are no contents.')
  const pieces: ChangedPiece[] = []
  for await (const piece of sent.pieces(0, sent.sizeBytes)) pieces.push(piece)
  await sent.close()
  return pieces
}

function checkpoint(world: SimulatedDaemon, name: string) {
  return world.call('createCheckpoint', { params, body: { name, description: '' } })
}

async function checkpoints(world: SimulatedDaemon): Promise<readonly (readonly [string, string])[]> {
  const list = await world.call('listCheckpoints', { params })
  return list.map((one) => [one.name, [...new Set(one.disks.map(({ state }) => state))].join()])
}

/** Nothing is kept any more, and no bitmap is of no checkpoint; waits for it. */
async function assertLetGo(world: SimulatedDaemon): Promise<void> {
  const { store } = world.daemon.context.ports
  const isStill = () =>
    world.daemon.context.jobs.running() === 0 &&
    store.volumes.list().every(({ phase, work, move }) => phase === 'ready' && !work && !move)
  for (let turn = 0; !isStill(); turn++) {
    assert.ok(turn < 3_000, 'Something is under way for ever.')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.deepEqual(
    store.volumes
      .list()
      .map(({ name }) => name)
      .toSorted(),
    ['web1-data', 'web1-root'],
  )
  assert.equal(world.machine.volumes.size, 2)
  if ((await world.vm('web1')).status.state === 'running')
    assert.equal(world.process('web1').disks.kept.size, 0)
}

test('disks are kept as they are at one instant and read until the instant is ended', async () => {
  await using world = await openWorld()

  const instant = await keep(world)
  const pieces = await read(world, instant)
  const listed = await world.call('listInstants', { params })
  await assert.rejects(keep(world), { code: 'busy' })
  await end(world, instant)

  assert.deepEqual(
    instant.disks.map(({ disk, kind }) => [disk, kind]),
    [
      ['root', 'full'],
      ['data', 'full'],
    ],
  )
  assert.deepEqual(
    pieces.map(({ kind }) => kind),
    ['data', 'zeros'],
  )
  assert.deepEqual(
    listed.map(({ id }) => id),
    [instant.id],
  )
  await assertLetGo(world)
  await assert.rejects(read(world, instant), { code: 'instant-not-found' })
  assert.equal((await world.call('getJob', { params: { id: instant.id }, query: {} })).state, 'succeeded')
})

test('an instant that nobody reads of ends', async () => {
  await using world = await openWorld()

  const instant = await keep(world, { idleSeconds: 60 })
  await read(world, instant, 'data')
  world.skip(61_000)

  await assertLetGo(world)
  const job = await world.call('getJob', { params: { id: instant.id }, query: {} })
  assert.match(job.outcome ?? '', /Nobody read of it for 60 s/)
})

test('an instant ends with its VM, and with its job', async () => {
  await using world = await openWorld()
  const cancelled = await keep(world)
  await world.call('cancelJob', { params: { id: cancelled.id } })
  await assertLetGo(world)

  const lost = await keep(world)
  world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  await assertLetGo(world)
  assert.equal((await world.call('getJob', { params: { id: lost.id }, query: {} })).state, 'failed')
  await assert.rejects(keep(world), { code: 'wrong-state' })
})

/** A connection to the disks of an instant, with a ticket as the API asks for it. */
async function readByNbd(world: SimulatedDaemon, { id }: Instant): Promise<Duplex> {
  const { ticket } = await world.call('nbdTicket', { params: { ...params, instant: id } })
  return await world.daemon.consoles.joinNbd(ticket)
}

test('an emulator that refuses to let go is asked again until it does', async () => {
  await using world = await openWorld()
  world.process('web1').disks.refusalsToLetGo = 3

  await end(world, await keep(world))

  await assertLetGo(world)
  assert.equal(world.process('web1').disks.refusalsToLetGo, 0)
})

test('an instant that is served by NBD lasts as long as somebody reads, and is read by that alone', async () => {
  await using world = await openWorld()
  const instant = await keep(world, { idleSeconds: 60 })

  const stream = await readByNbd(world, instant)
  const [greeting] = await once(stream, 'data')
  assert.equal(String(greeting), 'NBDMAGICIHAVEOPT')
  await assert.rejects(read(world, instant), { code: 'busy' })
  assert.equal(world.process('web1').disks.kept.size, 0)
  world.skip(61_000)
  const other = await readByNbd(world, instant)
  other.destroy()
  stream.destroy()
  await once(stream, 'close')
  world.skip(61_000)

  await assertLetGo(world)
  await assert.rejects(readByNbd(world, instant), { code: 'instant-not-found' })
})

test('what serves an instant by NBD ends with it, and what changed lies in a format that can tell it', async () => {
  await using world = await openWorld()
  const first = await keep(world, { checkpoint: 'monday' })
  const stream = await readByNbd(world, first)
  const closed = once(stream, 'close')
  await end(world, first)
  await closed
  await assertLetGo(world)

  const second = await keep(world, { since: 'monday' })
  const { store } = world.daemon.context.ports
  const scratches = store.volumes.list().filter(({ move }) => move?.scratch)
  assert.deepEqual(
    scratches.map(({ format }) => format),
    ['qcow2', 'qcow2'],
  )
  await readByNbd(world, second)
  await end(world, second)

  const last = await keep(world)
  await readByNbd(world, last)
  await using next = await world.killAndFollow()
  await assertLetGo(next)
})

test('what changed since a checkpoint is told where it is known, and else all with the reason', async () => {
  await using world = await openWorld()
  const first = await keep(world, { checkpoint: 'monday' })
  await end(world, first)
  assert.deepEqual(await checkpoints(world), [['monday', 'usable']])
  world.process('web1').disks.bitmaps.get('data')?.clear()

  const second = await keep(world, { since: 'monday', checkpoint: 'tuesday' })
  const pieces = await read(world, second)
  await end(world, second)

  assert.deepEqual(
    second.disks.map(({ disk, kind }) => [disk, kind]),
    [
      ['root', 'increment'],
      ['data', 'full'],
    ],
  )
  assert.match(second.disks[1]?.reason ?? '', /data has lost what it noted since checkpoint monday/)
  assert.deepEqual(
    pieces.map(({ kind }) => kind),
    ['data', 'same'],
  )
  assert.deepEqual(await checkpoints(world), [
    ['monday', 'usable,lost'],
    ['tuesday', 'usable'],
  ])
  await assert.rejects(keep(world, { since: 'sunday' }), { code: 'checkpoint-not-found' })
  await assert.rejects(keep(world, { checkpoint: 'monday' }), { code: 'name-taken' })
  await assertLetGo(world)
})

test('a checkpoint is deleted with its bitmaps', async () => {
  await using world = await openWorld()
  await checkpoint(world, 'monday')
  await checkpoint(world, 'tuesday')

  await world.call('deleteCheckpoint', { params: { ...params, checkpoint: 'monday' } })

  assert.deepEqual(await checkpoints(world), [['tuesday', 'usable']])
  assert.equal(world.process('web1').disks.bitmaps.get('root')?.size, 1)
})

const works = {
  'vm.instant.': (world: SimulatedDaemon) =>
    keep(world, { checkpoint: 'new' }).then((one) => end(world, one)),
  'checkpoint.create.': (world: SimulatedDaemon) => checkpoint(world, 'new'),
  'checkpoint.delete.': (world: SimulatedDaemon) =>
    world.call('deleteCheckpoint', { params: { ...params, checkpoint: 'old' } }),
} as const

for (const dies of ['the daemon dies', 'the daemon and the emulator die', 'the step fails'] as const)
  test(`at whichever step ${dies}, nothing is left of an instant, and a checkpoint is whole or not there`, async () => {
    const steps = Object.entries(works).flatMap(([prefix, work]) =>
      failpointNames.filter((name) => name.startsWith(prefix)).map((point) => ({ point, work })),
    )

    const all = await Promise.allSettled(steps.map(({ point, work }) => breakOff(point, dies, work)))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${steps[index]?.point}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

async function breakOff(
  point: FailpointName,
  dies: string,
  work: (world: SimulatedDaemon) => Promise<unknown>,
): Promise<void> {
  const reached = Promise.withResolvers<void>()
  let isArmed = false
  const failpoint = async (name: FailpointName) => {
    if (!isArmed || name !== point) return
    isArmed = false
    reached.resolve()
    if (dies === 'the step fails') throw new KvasirError('host-failed', 'A step failed.')
    await new Promise(() => {}) // The daemon does no more.
  }
  const first = await openWorld({ failpoint })
  await checkpoint(first, 'old')
  isArmed = true
  const going = work(first).catch(() => undefined)
  await reached.promise
  const isDeath = dies !== 'the step fails'
  if (dies.endsWith('emulator die')) first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })
  if (!isDeath) await going
  await using world = isDeath ? await first.killAndFollow() : first

  await assertLetGo(world)
  const names = (await checkpoints(world)).map(([name]) => name)
  if (dies.endsWith('emulator die')) return
  await checkpoint(world, 'last')
  const bitmaps = world.process('web1').disks.bitmaps.get('root')
  assert.equal(bitmaps?.size, names.length + 1)
  assert.ok((await checkpoints(world)).every(([, state]) => state === 'usable'))
}
