/** Channels of a VM on the simulated host, whose guest gives back what it is told. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const channel = 'org.example.app.0'
const params = { name: 'web1', channel }

test('a ticket for a channel opens it once, and one at a time is connected', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { channels: [channel] } })
  await assert.rejects(world.call('channelTicket', { params }), { code: 'wrong-state' })
  await world.start('web1')

  const { ticket, url } = await world.call('channelTicket', { params })
  const stream = await world.daemon.consoles.joinChannel(ticket)
  stream.write('hello')
  const [said] = await once(stream, 'data')

  assert.equal(String(said), 'hello')
  assert.match(url, /^\/v1\/streams\/channel\?ticket=/)
  await assert.rejects(world.daemon.consoles.joinChannel(ticket), { code: 'ticket-invalid' })
  const second = await world.call('channelTicket', { params })
  await assert.rejects(world.daemon.consoles.joinChannel(second.ticket), { code: 'console-taken' })
  const foreign = await world.call('channelTicket', { params })
  await assert.rejects(world.daemon.consoles.joinNbd(foreign.ticket), { code: 'ticket-invalid' })
})

test('a channel is shown with its socket, and one that waits for the next boot is there from then on', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { channels: [channel] } })
  await world.start('web1')
  await world.createVm('web2', { devices: { agent: false } })
  await world.start('web2')
  const later = 'org.example.later.0'

  const { spec } = await world.vm('web2')
  const devices = { ...spec.devices, channels: [later] }
  const { restartNeeded } = (
    await world.call('applyVm', { params: { name: 'web2' }, body: { spec: { ...spec, devices } } })
  ).status

  assert.deepEqual(restartNeeded, ['devices.channels'])
  const { uuid, status } = await world.vm('web1')
  assert.deepEqual(
    status.channels?.map(({ name, open, socket }) => [name, open, socket.endsWith(`/vms/${uuid}/channel0`)]),
    [[channel, true, true]],
  )
  await assert.rejects(world.call('channelTicket', { params: { name: 'web2', channel: later } }), {
    code: 'unsupported',
    message: /VM web2 has channel org\.example\.later\.0 from its next boot on/,
  })
  await assert.rejects(world.call('channelTicket', { params: { name: 'web1', channel: 'constructor' } }), {
    code: 'unsupported',
    message: /VM web1 has no channel constructor/,
  })
})
