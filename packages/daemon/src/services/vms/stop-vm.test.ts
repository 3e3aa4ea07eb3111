/** Guests that do not do what they are asked, and those who stop asking. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

async function openWithDeafGuest(shutdownTimeoutSeconds = 60): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { agent: false }, lifecycle: { shutdownTimeoutSeconds } })
  await world.start('web1')
  world.process('web1').obeysPowerButton = false
  return world
}

const askNicely = { mode: 'auto' as const, escalate: false }

test('a shutdown that is cancelled leaves the VM running', async () => {
  await using world = await openWithDeafGuest()
  const job = await world.call('shutdownVm', { params, query: {}, body: askNicely })
  await eventually(async () => (await world.vm('web1')).status.state === 'stopping', 'it was asked')

  await world.call('cancelJob', { params: { id: job.id } })
  await world.call('getJob', { params: { id: job.id }, query: { wait: 5 } })

  assert.match((await world.vm('web1')).status.state, /^running$/)
  await world.call('pauseVm', { params })
})

test('a guest that was asked by a former daemon and does not obey runs on after its time', async () => {
  const first = await openWithDeafGuest(1)
  await first.call('shutdownVm', { params, query: {}, body: askNicely })
  await eventually(async () => (await first.vm('web1')).status.state === 'stopping', 'it was asked')
  await using second = await first.killAndFollow()
  const driver = second.daemon.supervisor.find('web1')

  await driver.reconcile()
  assert.equal((await second.vm('web1')).status.state, 'stopping')
  second.skip(1_050)
  await driver.reconcile()

  assert.equal((await second.vm('web1')).status.state, 'running')
})

test('a guest that a job waits for is waited for longer than its own time', async () => {
  await using world = await openWithDeafGuest(1)
  await world.call('shutdownVm', { params, query: {}, body: { ...askNicely, timeoutSeconds: 60 } })
  await eventually(async () => (await world.vm('web1')).status.state === 'stopping', 'it was asked')
  world.skip(1_050)

  await world.daemon.supervisor.find('web1').reconcile()

  assert.equal((await world.vm('web1')).status.state, 'stopping')
})

test('a reboot whose power button cannot be pressed leaves the VM as it was', async () => {
  await using world = await openWithDeafGuest()
  world.machine.commandTimeoutMs = 10
  world.process('web1').goesMute()

  const job = await world.call('rebootVm', { params, query: { wait: 5 } })

  assert.equal(job.error?.code, 'emulator-unresponsive')
  assert.equal((await world.vm('web1')).status.state, 'running')
})

test('a VM whose emulator is followed by nobody is looked for by the next check', async () => {
  await using world = await openWithDeafGuest()
  const driver = world.daemon.supervisor.find('web1')
  await driver.recover(async (seat) => seat.detach())
  world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  await world.daemon.supervisor.check()

  assert.equal((await world.vm('web1')).status.state, 'crashed')
})

test('a VM that is to be restarted when it crashes is, when it crashed while the daemon was away', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1', { lifecycle: { onCrash: 'restart' } })
  await first.start('web1')
  const before = first.process('web1')
  await first.daemon.supervisor.close()
  before.dies({ code: undefined, signal: 'SIGKILL' })

  await using second = await first.killAndFollow()

  await eventually(async () => (await second.vm('web1')).status.state === 'running', 'it runs again')
  assert.notEqual(second.process('web1').pid, before.pid)
})
