import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

async function openWithGuest(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  await eventually(() => world.process('web1').agentConnected, 'the agent is there')
  return world
}

function run(world: SimulatedDaemon, ...command: string[]) {
  return world.call('execVm', { params, body: { command, timeoutSeconds: 5 } })
}

test('a command runs in the guest, and what it printed is answered', async () => {
  await using world = await openWithGuest()

  const { exitCode, stdout } = await run(world, 'echo', 'hello')

  assert.deepEqual([exitCode, stdout], [0, 'hello\n'])
})

test('a guest without an agent is named, and so is what was not run', async () => {
  await using world = await openWithGuest()
  world.process('web1').agentConnected = false

  await assert.rejects(run(world, 'echo', 'hello'), {
    code: 'guest-agent-unavailable',
    message: 'No guest agent answers in VM web1, so echo was not run.',
  })
})

test('an agent that falls silent is named, and nothing is claimed of the command', async () => {
  await using world = await openWithGuest()
  world.process('web1').pause() // The guest stands, which the daemon has not heard of yet.

  await assert.rejects(run(world, 'echo', 'hello'), {
    code: 'guest-agent-unavailable',
    message: 'The guest agent of VM web1 does not answer, so what became of echo is unknown.',
  })
})
