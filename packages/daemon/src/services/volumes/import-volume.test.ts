/** What is not taken as a volume, and what becomes of it then, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { hurry, snapshot } from '../../testing/layered-disk.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'
import { holdFile } from './hold-file.ts'
import { settleTaken } from './taken-files.ts'

const gib = 2 ** 30
const path = '/srv/fast'
const fast = { params: { pool: 'fast' } }
const there = { capacityBytes: gib, allocatedBytes: 1, basePath: undefined, folder: path }
const body = { name: 'old', file: 'other.img', format: 'raw' as const, force: true }

async function openWithPool(
  options: Parameters<typeof openSimulatedDaemon>[0] = {},
): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon(options)
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path }) })
  return world
}

test('a file that has another name as well is not taken, since who uses that one would write to it too', async () => {
  await using world = await openWithPool()
  world.machine.volumes.set('other', { ...there, names: 2, file: 'other.img' })

  await assert.rejects(
    world.call('importVolume', { params: { pool: 'fast' }, body }),
    /2 names \(hard links\)/,
  )

  assert.match((await world.call('refreshPool', fast)).findings?.[0]?.detail ?? '', /another name/)
})

/** A daemon that does what is said when a file has been taken and is no volume yet. */
async function openTaking(afterTake: () => Promise<void>): Promise<SimulatedDaemon> {
  const world = await openWithPool({
    failpoint: async (name) => {
      if (name === 'volume.import.after-take') await afterTake()
    },
  })
  world.machine.volumes.set('other', { ...there, file: 'other.img' })
  return world
}

const take = (world: SimulatedDaemon, name = 'old') =>
  world.call('importVolume', { ...fast, body: { ...body, name } })

const isAsItWas = ({ machine }: SimulatedDaemon) => machine.volumes.has('other')

/** One that died when it had taken the file. */
async function openKilled(): Promise<SimulatedDaemon> {
  const { promise: isThere, resolve: arrive } = Promise.withResolvers<void>()
  const world = await openTaking(async () => {
    arrive()
    await new Promise(() => {})
  })
  void take(world).catch(() => {})
  await isThere
  assert.ok(!isAsItWas(world))
  return world
}

test('what a daemon died over before it was a volume is given back as it was, and can be imported then', async () => {
  const world = await openKilled()

  await using next = await world.killAndFollow()

  await eventually(() => isAsItWas(next), 'it is as it was')
  await take(next)
  await using last = await next.killAndFollow()
  assert.equal((await last.call('getVolume', { params: { pool: 'fast', volume: 'old' } })).name, 'old')
  assert.ok(!isAsItWas(last))
})

test('what is imported again before the next daemon could give it back is a volume, and stays one', async () => {
  const world = await openKilled()
  await using next = await world.killAndFollow()

  await take(next)

  await next.call('refreshPool', fast)
  assert.ok(!isAsItWas(next))
  await using last = await next.killAndFollow()
  await last.call('refreshPool', fast)
  assert.ok(!isAsItWas(last))
})

test('what is tried again before it was given back is left as it was at first, not as the first try left it', async () => {
  const world = await openKilled()
  await using next = await world.killAndFollow({
    failpoint: async (name) => {
      if (name === 'volume.import.after-take') throw new Error('broken off')
    },
  })

  await assert.rejects(take(next), /broken off/)

  assert.ok(isAsItWas(next))
  assert.equal(next.ports.store.pools.findByName('fast')?.taken, undefined)
})

test('a note that is left of a file that is a volume by now takes nothing away from that', async () => {
  const world = await openWithPool()
  world.machine.volumes.set('other', { ...there, file: 'other.img' })
  await take(world)
  const row = world.ports.store.pools.findByName('fast')
  assert.ok(row)
  world.ports.store.pools.update({ ...row, taken: [{ file: 'other.img', before: ['other'] }] })

  await using next = await world.killAndFollow()

  const noted = () => next.ports.store.pools.get(row.id)?.taken
  await eventually(() => noted() === undefined, 'the note is gone')
  assert.ok(!isAsItWas(next))
})

test('two do not import one file at once, and who fails gives nothing away that is the other one', async () => {
  const { promise: isThere, resolve: arrive } = Promise.withResolvers<void>()
  const { promise: end, reject: fail } = Promise.withResolvers<void>()
  let isFirst = true
  await using world = await openTaking(async () => {
    if (!isFirst) return
    isFirst = false
    arrive()
    await end
  })
  const first = take(world)
  await isThere

  await assert.rejects(take(world, 'second'), {
    code: 'busy',
    message: 'The file other.img of pool fast is being imported, so nothing else is done to it.',
  })

  fail(new Error('broken off'))
  await assert.rejects(first, /broken off/)
  assert.ok(isAsItWas(world))
  await take(world, 'second')
  assert.ok(!isAsItWas(world))
})

test('what is being given back is not imported meanwhile', async () => {
  await using world = await openTaking(async () => {})
  const pool = world.ports.store.pools.findByName('fast')
  assert.ok(pool)
  const work = 'given back as it was'

  {
    using _ = holdFile(pool, { file: 'other.img', work }, world.daemon.context)
    await assert.rejects(take(world), { code: 'busy', message: /is being given back as it was/ })
  }

  await take(world)
})

test('what could not be given back to a pool that hangs is given back when it answers, by the same daemon', async () => {
  await using world = await openTaking(async () => {
    world.machine.hungFolders.add(path)
    throw new Error('broken off')
  })
  await assert.rejects(take(world), /broken off/)
  assert.ok(!isAsItWas(world))
  await assert.rejects(world.call('refreshPool', fast), { code: 'pool-unreachable' })

  world.machine.hungFolders.clear()
  await world.call('refreshPool', fast)

  assert.ok(isAsItWas(world))
  assert.equal(world.ports.store.pools.findByName('fast')?.taken, undefined)
})

test('what cannot be given back is tried again, as often as the pool is settled', async () => {
  await using world = await openTaking(async () => {
    world.machine.hungFolders.add(path)
    throw new Error('broken off')
  })
  await assert.rejects(take(world), /broken off/)
  const pool = world.ports.store.pools.findByName('fast')
  assert.ok(pool)

  await settleTaken(pool, world.daemon.context)
  assert.equal(world.ports.store.pools.get(pool.id)?.taken?.length, 1)
  world.machine.hungFolders.clear()
  await world.ports.pools.of(pool).inspect()
  await settleTaken(pool, world.daemon.context)

  assert.ok(isAsItWas(world))
})

test('a layer of a volume of another pool is a volume too, and is not imported', async () => {
  await using world = await openSimulatedDaemon({ hurry })
  await world.call('createPool', { body: newPool.parse({ type: 'lvm', name: 'ground', vg: 'vg0' }) })
  await world.createVm('web1', { disks: [{ name: 'data', pool: 'ground', size: '64MiB' }] })
  await snapshot(world, 'one')
  const layer = world.ports.store.volumes.list().find(({ liesIn }) => liesIn === 'default')
  assert.ok(layer)
  const file = `${layer.id}.qcow2`

  await assert.rejects(
    world.call('importVolume', {
      params: { pool: 'default' },
      body: { ...body, name: 'theirs', file, format: 'qcow2' },
    }),
    { code: 'in-use' },
  )
})
