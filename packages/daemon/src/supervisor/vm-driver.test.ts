/** Who gets a VM's seat, and what becomes of those who are in the way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailpointName } from '../ports/failpoints.ts'
import { eventually, openSimulatedDaemon } from '../testing/simulated-daemon.ts'

/** Holds whoever comes to a point there until it is let go. */
function holdAt(name: FailpointName) {
  const reached = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  const failpoint = async (point: FailpointName) => {
    if (point !== name) return
    reached.resolve()
    await released.promise
  }
  return { failpoint, reached: reached.promise, release: () => released.resolve() }
}

const params = { name: 'web1' }

test('power-off of a VM that is off ends nothing: its clone goes on', async () => {
  const hold = holdAt('vm.clone.after-row')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  const body = { name: 'web2', mode: 'full' as const }
  const job = await world.call('cloneVm', { params, query: {}, body })
  await hold.reached

  await assert.rejects(world.call('powerOffVm', { params }), { code: 'wrong-state' })

  hold.release()
  const ended = await world.call('getJob', { params: { id: job.id }, query: { wait: 5 } })
  assert.equal(ended.state, 'succeeded')
})

test('power-off of a VM whose start has just begun ends the start and is content', async () => {
  const hold = holdAt('vm.start.before-intent')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.createVm('web1')
  const job = await world.call('startVm', { params, query: {} })
  await hold.reached
  const off = world.call('powerOffVm', { params })

  hold.release()

  await off
  const ended = await world.call('getJob', { params: { id: job.id }, query: { wait: 5 } })
  assert.equal(ended.state, 'cancelled')
  assert.equal((await world.vm('web1')).status.state, 'shutoff')
})

test('what a guest does at the end of a long action is seen when that has ended', async () => {
  const hold = holdAt('vm.start.after-state')
  await using world = await openSimulatedDaemon({ failpoint: hold.failpoint })
  await world.createVm('web1')
  await world.call('startVm', { params, query: {} })
  await hold.reached
  world.process('web1').guestPowersOff()
  await new Promise((resolve) => setTimeout(resolve, 20))

  hold.release()

  await eventually(async () => (await world.vm('web1')).status.state === 'shutoff', 'it is shut off')
})

test('a save whose emulator dies fails for that, and leaves a crashed VM and no file', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  world.machine.stepMs = 100
  const job = await world.call('saveVm', { params, query: {} })
  await eventually(() => world.machine.saves.size > 0, 'memory is being written')

  world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  const ended = await world.call('getJob', { params: { id: job.id }, query: { wait: 5 } })
  assert.equal(ended.state, 'failed')
  assert.match(String(ended.error?.code), /^emulator-(failed|unresponsive)$/)
  await eventually(async () => (await world.vm('web1')).status.state === 'crashed', 'it has crashed')
  assert.deepEqual((await world.call('getAudit', {})).entries, [])
})

test('power-off comes before a save that waits for its turn', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  const driver = world.daemon.supervisor.find('web1')
  const { promise, resolve } = Promise.withResolvers<void>()
  const sitting = driver.take('edit', () => promise)
  world.machine.stepMs = 60_000
  const job = await world.call('saveVm', { params, query: {} })
  const off = world.call('powerOffVm', { params })

  resolve()

  await sitting
  await off
  const ended = await world.call('getJob', { params: { id: job.id }, query: { wait: 5 } })
  assert.equal(ended.state, 'cancelled')
})
