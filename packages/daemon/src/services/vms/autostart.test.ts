import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, openSimulatedDaemon } from '../../testing/simulated-daemon.ts'
import { markForAutostart, startInOrder } from './autostart.ts'

test('VMs that are marked for it start in their order, and one that fails holds up nobody', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('later', { autostart: { enabled: true, order: 2 } })
  await world.createVm('first', { autostart: { enabled: true, order: 1 } })
  await world.createVm('manual')
  world.machine.nextLaunch = { kind: 'fails', error: new Error('out of luck') }

  const { context } = world.daemon
  await startInOrder(await markForAutostart(context), context)

  assert.equal((await world.vm('first')).status.state, 'shutoff')
  assert.equal((await world.vm('later')).status.state, 'running')
  assert.equal((await world.vm('manual')).status.state, 'shutoff')
})

test('a daemon that dies in the middle of autostart is followed by one that goes on', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1', { autostart: { enabled: true } })
  await first.createVm('web2')
  await markForAutostart(first.daemon.context)

  await using second = await first.killAndFollow()

  await eventually(async () => (await second.vm('web1')).status.state === 'running', 'web1 runs')
  assert.equal((await second.vm('web2')).status.state, 'shutoff')
})
