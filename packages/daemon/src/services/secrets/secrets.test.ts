/** Secrets as a resource, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newSecret, newVolume } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const value = 'what-nobody-may-see'
const key = { params: { secret: 'key' } }

function keep(world: SimulatedDaemon, name: string) {
  return world.call('createSecret', { body: newSecret.parse({ name, value }) })
}

test('a secret is kept once by its name, and goes when it is deleted', async () => {
  await using world = await openSimulatedDaemon()

  const shown = await keep(world, 'key')

  assert.deepEqual(Object.keys(shown).toSorted(), ['createdAt', 'name', 'usedBy'])
  assert.deepEqual([...world.machine.secrets.values()], [value])
  await assert.rejects(keep(world, 'key'), { code: 'name-taken' })
  assert.equal(world.machine.secrets.size, 1)
  await world.call('deleteSecret', key)
  assert.deepEqual([world.machine.secrets.size, await world.call('listSecrets', {})], [0, []])
  await assert.rejects(world.call('getSecret', key), { code: 'secret-not-found' })
})

test('a secret that is to be made is another one each time', async () => {
  await using world = await openSimulatedDaemon()
  for (const name of ['one', 'two'])
    await world.call('createSecret', { body: newSecret.parse({ name, generate: true }) })

  assert.equal(new Set(world.machine.secrets.values()).size, 2)
})

test('what a secret is stands in no row, event, job or answer', async () => {
  await using world = await openSimulatedDaemon()
  await keep(world, 'key')

  const { store } = world.daemon.context.ports
  const told = [
    store.secrets.list(),
    store.events.read(0, 1000),
    store.jobs.list(1000),
    await world.call('listSecrets', {}),
    await world.call('getSecret', key),
  ]

  assert.equal(JSON.stringify(told).includes(value), false)
})

for (const point of ['after-row', 'after-file'] as const)
  test(`a secret that a daemon died over ${point} is no secret for the next one`, async () => {
    const first = await openSimulatedDaemon({
      async failpoint(name) {
        if (name === `secret.create.${point}`) await new Promise(() => {})
      },
    })
    void keep(first, 'key').catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))

    await using world = await first.killAndFollow()

    assert.deepEqual([world.machine.secrets.size, world.daemon.context.ports.store.secrets.list()], [0, []])
    await keep(world, 'key')
  })

test('a deletion that was broken off is finished by the next daemon', async () => {
  const first = await openSimulatedDaemon({
    async failpoint(name) {
      if (name === 'secret.delete.after-phase') throw new Error('broken off')
    },
  })
  await keep(first, 'key')
  await assert.rejects(first.call('deleteSecret', key), /broken off/)

  await using world = await first.killAndFollow()

  assert.deepEqual([world.machine.secrets.size, await world.call('listSecrets', {})], [0, []])
})

test('a secret is given another value, unless a volume is encrypted with it, which is named', async () => {
  await using world = await openSimulatedDaemon()
  await keep(world, 'key')
  const set = (to: string) => world.call('setSecret', { ...key, body: { value: to } })

  await set('another one')
  assert.deepEqual([...world.machine.secrets.values()], ['another one'])
  await world.call('createVolume', {
    params: { pool: 'default' },
    body: newVolume.parse({ name: 'safe', size: '64MiB', encrypt: 'key' }),
  })
  await assert.rejects(set('a third one'), { code: 'in-use', message: /opens volume safe/ })

  assert.deepEqual([...world.machine.secrets.values()], ['another one'])
  await assert.rejects(world.call('setSecret', { params: { secret: 'none' }, body: { value: 'x' } }), {
    code: 'secret-not-found',
  })
})

test('a secret whose new value could not be written is the former one, and no event tells of another', async () => {
  await using world = await openSimulatedDaemon({
    async failpoint(name) {
      if (name === 'secret.set.after-phase') throw new Error('The disk is full.')
    },
  })
  await keep(world, 'key')

  await assert.rejects(world.call('setSecret', { ...key, body: { value: 'another one' } }))

  assert.deepEqual([...world.machine.secrets.values()], [value])
  const events = world.daemon.context.ports.store.events.read(0, 1000)
  assert.doesNotMatch(JSON.stringify(events), /secret\.changed/)
  await world.call('deleteSecret', key)
})

for (const point of ['after-phase', 'after-file'] as const)
  test(`a secret that a daemon died over ${point} of a change is a whole one for the next`, async () => {
    const first = await openSimulatedDaemon({
      async failpoint(name) {
        if (name === `secret.set.${point}`) await new Promise(() => {})
      },
    })
    await keep(first, 'key')
    void first.call('setSecret', { ...key, body: { value: 'another one' } }).catch(() => {})
    await new Promise((resolve) => setImmediate(resolve))

    await using world = await first.killAndFollow()

    assert.deepEqual([...world.machine.secrets.values()], [point === 'after-file' ? 'another one' : value])
    await world.call('setSecret', { ...key, body: { value: 'a third one' } })
    await world.call('deleteSecret', key)
  })

test('what cannot be a secret is refused', () => {
  const refused = [
    {},
    { value: '' },
    { value: 'a\0b' },
    { value: 'ä'.repeat(2049) },
    { value: 'x', generate: true },
    { generate: false },
    { value: 7 },
  ]
  for (const body of refused) assert.equal(newSecret.safeParse({ name: 'key', ...body }).success, false)
  assert.ok(newSecret.safeParse({ name: 'key', value: 'ä'.repeat(2048) }).success)
})
