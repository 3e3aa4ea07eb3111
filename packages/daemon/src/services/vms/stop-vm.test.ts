/** Guests that do not do what they are asked, and those who stop asking. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

async function openWithDeafGuest(shutdownTimeoutSeconds = 60): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.createVm('web1', {
    devices: { agent: false },
    disks: [{ name: 'data', size: '1GiB' }],
    lifecycle: { shutdownTimeoutSeconds },
  })
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

/** Asks a deaf guest to shut down, then lets its disk be full. */
async function shutDownOnFullDisk(world: SimulatedDaemon, body = {}) {
  const job = await world.call('shutdownVm', { params, query: {}, body: { ...askNicely, ...body } })
  await eventually(async () => (await world.vm('web1')).status.state === 'stopping', 'it was asked')
  world.process('web1').diskFails('disk-data', 'nospace')
  return await world.call('getJob', { params: { id: job.id }, query: { wait: 5 } })
}

test('a shutdown of a guest that comes to a stand is not waited for, and says why', async () => {
  await using world = await openWithDeafGuest()

  const job = await shutDownOnFullDisk(world)

  assert.equal(job.error?.code, 'wrong-state')
  assert.match(
    job.error?.detail ?? '',
    /^VM web1 was asked to shut down and is paused \(.*no space.*power it off\.$/,
  )
  assert.equal((await world.vm('web1')).status.state, 'paused')
})

test('a shutdown that may cut the power does so when the guest comes to a stand', async () => {
  await using world = await openWithDeafGuest()

  const job = await shutDownOnFullDisk(world, { escalate: true })

  assert.equal(job.state, 'succeeded')
  assert.equal((await world.vm('web1')).status.reason, 'it was powered off')
})

test('a reboot of a guest that comes to a stand is not waited for', async () => {
  await using world = await openWithDeafGuest()
  const { id } = await world.call('rebootVm', { params, query: {} })
  await eventually(async () => (await world.vm('web1')).status.state === 'stopping', 'it was asked')

  world.process('web1').diskFails('disk-data', 'nospace')
  const job = await world.call('getJob', { params: { id }, query: { wait: 5 } })

  assert.match(job.error?.detail ?? '', /asked to reboot and is paused/)
})

for (const action of ['resumeVm', 'resetVm'] as const)
  test(`after ${action} nobody remembers that the guest was asked to shut down`, async () => {
    const first = await openWithDeafGuest()
    await first.call('shutdownVm', { params, query: {}, body: askNicely })
    await eventually(async () => (await first.vm('web1')).status.state === 'stopping', 'it was asked')
    await using second = await first.killAndFollow() // So that no job waits, whose end would forget it.
    const view = () => second.daemon.supervisor.find('web1').view().record
    second.process('web1').diskFails('disk-data', 'nospace')
    await eventually(() => view().life.state === 'paused', 'it stands')
    assert.equal(view().intent, 'stop')

    await second.call(action, { params })

    assert.equal(view().intent, 'none')
    assert.equal(view().life.state, 'running')
  })

test('a guest that goes on in the middle of its shutdown ends that with a sentence', async () => {
  await using world = await openWithDeafGuest()
  const { id } = await world.call('shutdownVm', { params, query: {}, body: askNicely })
  const driver = world.daemon.supervisor.find('web1')
  await eventually(async () => driver.view().record.life.state === 'stopping', 'it was asked')

  await driver.recover(async (seat) =>
    seat.update({ intent: 'none', life: seat.life('running', 'it was reset') }),
  )
  const job = await world.call('getJob', { params: { id }, query: { wait: 5 } })

  assert.equal(job.state, 'cancelled')
  assert.match(
    job.error?.detail ?? '',
    /goes on since \(it was reset\), so its shutdown is not waited for any more/,
  )
})

test('a guest that was asked to shut down and is found standing by the next daemon keeps its emulator', async () => {
  const first = await openWithDeafGuest()
  await first.call('shutdownVm', { params, query: {}, body: askNicely })
  await eventually(async () => (await first.vm('web1')).status.state === 'stopping', 'it was asked')
  const { pid } = first.process('web1')
  await first.daemon.supervisor.close()
  first.process('web1').diskFails('disk-data', 'nospace')

  await using second = await first.killAndFollow()

  assert.match((await second.vm('web1')).status.state, /^paused$/)
  assert.equal(second.process('web1').pid, pid)
})

test('an emulator that answers again while its guest is asked to shut down is still waited for', async () => {
  await using world = await openWithDeafGuest()
  world.machine.commandTimeoutMs = 10
  const { id } = await world.call('shutdownVm', { params, query: {}, body: askNicely })
  const driver = world.daemon.supervisor.find('web1')
  await eventually(async () => driver.view().record.life.state === 'stopping', 'it was asked')
  world.process('web1').goesMute()
  await driver.reconcile()
  assert.equal(driver.view().record.life.state, 'unknown')

  world.process('web1').speaksAgain()
  await driver.reconcile()

  assert.equal(driver.view().record.life.state, 'stopping')
  assert.equal((await world.call('getJob', { params: { id }, query: {} })).state, 'running')
})
