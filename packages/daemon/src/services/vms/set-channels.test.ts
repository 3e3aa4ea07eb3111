/** Channels that come and go while the guest runs, and a daemon that dies at every step of it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { type Vm, vmSpec } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const [app, log, last] = ['org.example.app.0', 'org.example.log.0', 'org.example.a-last-one.0'] as const

type Options = Parameters<typeof openSimulatedDaemon>[0]

async function openRunning(channels: readonly string[], options: Options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry: 20, ...options })
  await world.createVm('web1', { devices: { channels: [...channels] } })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  return world
}

function specWith(channels: readonly string[], devices: object = {}) {
  return vmSpec.parse({ devices: { ...devices, channels: [...channels] } })
}

async function setChannels(world: SimulatedDaemon, channels: readonly string[]): Promise<Vm> {
  return await world.call('applyVm', { params, body: { spec: specWith(channels) } })
}

async function planned(world: SimulatedDaemon, spec: ReturnType<typeof specWith>) {
  const plan = await world.call('planVm', { params, body: { spec } })
  return plan.changes.map(({ field, effect, reason }) => [field, effect, reason])
}

async function ended(world: SimulatedDaemon, vm: Vm) {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 5 } })
}

/** Each channel of the guest with its socket's file name. */
function there(world: SimulatedDaemon) {
  const { sockets, ports } = world.process('web1').channels
  return [...ports].sort().map((name) => [name, sockets.get(name)?.socket])
}

async function shown(world: SimulatedDaemon) {
  const { status } = await world.vm('web1')
  return { names: status.channels?.map(({ name }) => name).sort(), waits: status.restartNeeded }
}

test('a channel comes to a guest that runs and is spoken on at once; the one that goes sends away who is connected', async () => {
  await using world = await openRunning([app])

  const came = await ended(world, await setChannels(world, [app, log]))
  const before = await shown(world)
  const { ticket } = await world.call('channelTicket', { params: { ...params, channel: log } })
  const stream = await world.daemon.consoles.joinChannel(ticket)
  stream.write('hello')
  const [said] = await once(stream, 'data')
  const went = await ended(world, await setChannels(world, [app]))
  await once(stream, 'close')

  assert.deepEqual(
    [came, went].map(({ kind, state, outcome }) => [kind, state, outcome]),
    [
      ['vm.set-channels', 'succeeded', `Channel ${log} is plugged.`],
      ['vm.set-channels', 'succeeded', `Channel ${log} is gone.`],
    ],
  )
  assert.equal(String(said), 'hello')
  assert.deepEqual(before, { names: [app, log], waits: [] })
  assert.deepEqual(await shown(world), { names: [app], waits: [] })
  await assert.rejects(world.call('channelTicket', { params: { ...params, channel: log } }), {
    code: 'unsupported',
  })
})

test('a channel keeps its number, whatever comes and goes beside it, and at the next boot too', async () => {
  await using world = await openRunning([app, log])

  await ended(world, await setChannels(world, [log]))
  await ended(world, await setChannels(world, [last, log]))
  const live = there(world)
  await world.call('powerOffVm', { params })
  await world.start('web1')

  assert.deepEqual(live, [
    [last, 'channel0'],
    [log, 'channel1'],
  ])
  assert.deepEqual(there(world), live)
  assert.deepEqual((await planned(world, specWith([log, last]))).length, 0)
})

test('memory is saved with the ports that there are, and loaded with the same', async () => {
  await using world = await openRunning([app, log])
  await ended(world, await setChannels(world, [log]))

  const { id } = await world.call('saveVm', { params })
  const saved = await world.call('getJob', { params: { id }, query: { wait: 5 } })
  await setChannels(world, []).catch(() => {})
  await world.start('web1')

  assert.equal(saved.state, 'succeeded')
  assert.deepEqual(there(world), [[log, 'channel1']])
})

test('the plan says what waits, and why: a controller that is not there, or that would go', async () => {
  await using world = await openSimulatedDaemon({ hurry: 20 })
  const without = { agent: false }
  await world.createVm('web1', { devices: without })
  await world.start('web1')

  const comes = await planned(world, specWith([app], without))
  await world.call('powerOffVm', { params })
  await world.call('applyVm', { params, body: { spec: specWith([app, log], without) } })
  await world.start('web1')

  assert.deepEqual(comes, [
    [
      'devices.channels',
      'next-boot',
      'it was started without the controller that channels are on, which the next boot brings',
    ],
  ])
  assert.deepEqual(await planned(world, specWith([], without)), [
    [
      'devices.channels',
      'next-boot',
      'the controller that channels are on goes with the last of them, which takes a boot',
    ],
  ])
  assert.deepEqual(await planned(world, specWith([log], without)), [
    ['devices.channels', 'live', 'channels are ports that come and go while the guest runs'],
  ])
})

test('a channel goes from a guest that stands still', async () => {
  await using world = await openRunning([app])
  await world.call('pauseVm', { params })

  const job = await ended(world, await setChannels(world, []))

  assert.equal(job.outcome, `Channel ${app} is gone.`)
})

test('all channels are given for others in one change, also where both together need more ports than there are', async () => {
  const names = (kind: string) => Array.from({ length: 16 }, (_, index) => `${kind}.${index}`)
  await using world = await openRunning(names('old'))

  const job = await ended(world, await setChannels(world, names('new')))

  assert.equal(job.state, 'succeeded', job.error?.detail ?? '')
  assert.deepEqual(await shown(world), { names: names('new').sort(), waits: [] })
  assert.equal(new Set(there(world).map(([, socket]) => socket)).size, 16)
})

const points = failpointNames.filter((name) => name.startsWith('vm.channels.'))

for (const point of points)
  test(`a daemon that dies at ${point} leaves a channel that the next one brings or takes away`, async () => {
    const reached = new Set<FailpointName>()
    let deadly: string | undefined
    const { promise: died, resolve: die } = Promise.withResolvers<void>()
    await using world = await openRunning([app], {
      async failpoint(name) {
        reached.add(name)
        if (name !== deadly) return
        die()
        await new Promise(() => {}) // The daemon is dead.
      },
    })
    deadly = point
    const wanted = /plug/.test(point) ? [app, log] : []

    await setChannels(world, wanted)
    await died
    await using next = await world.killAndFollow()

    assert.ok(reached.has(point))
    await eventually(async () => {
      const { names = [], waits } = await shown(next)
      return names.join() === wanted.join() && waits?.length === 0
    }, 'the row says what was wanted')
    assert.deepEqual(
      there(next).map(([name]) => name),
      wanted,
    )
  })
