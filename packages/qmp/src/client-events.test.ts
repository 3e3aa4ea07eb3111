import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QmpClient } from './client.ts'
import { QmpClosedError } from './errors.ts'
import { eventLine, listenFakeMonitor, reply } from './testing/fake-peer.ts'
import { waitForEvent } from './wait-for-event.ts'

test('Listeners hear their event, all events, or nothing after they left', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    socket.write(
      `${eventLine('STOP')}${eventLine('SHUTDOWN', { guest: true, reason: 'guest-shutdown' })}${reply(command, {})}`,
    )
  })
  using client = await QmpClient.connect({ path: peer.path })
  const heard: string[] = []
  const leave = client.on('STOP', () => heard.push('left'))
  client.on('SHUTDOWN', ({ data, timestampMs }) => heard.push(`${data.reason} ${timestampMs}`))
  client.on('*', ({ event }) => heard.push(event))
  leave()

  await client.execute('cont')

  assert.deepEqual(heard, ['STOP', 'guest-shutdown 1700000000005', 'SHUTDOWN'])
})

test('A listener that throws harms neither the others nor the connection', async () => {
  await using peer = await listenFakeMonitor((command, socket) =>
    socket.write(`${eventLine('STOP')}${reply(command, {})}`),
  )
  const errors: unknown[] = []
  using client = await QmpClient.connect({ path: peer.path, onListenerError: (error) => errors.push(error) })
  let heard = 0
  client.on('STOP', () => {
    throw new Error('a defect')
  })
  client.on('STOP', () => heard++)

  await client.execute('stop')

  assert.equal(heard, 1)
  assert.equal(errors.length, 1)
})

test('A flood of 20,000 events is heard in full and a command in it is answered', async () => {
  const count = 20_000
  await using peer = await listenFakeMonitor((command, socket) => {
    const batch = eventLine('BLOCK_IO_ERROR', { device: 'd'.repeat(100) }).repeat(1000)
    for (let i = 0; i < count / 1000; i++) socket.write(batch)
    socket.write(reply(command, {}))
  })
  using client = await QmpClient.connect({ path: peer.path })
  let heard = 0
  client.on('BLOCK_IO_ERROR', () => heard++)

  await client.execute('cont')

  assert.equal(heard, count)
})

test('Waiting for an event takes the matching one, times out, and ends with the connection', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    if (command.execute === 'quit') socket.end()
    else
      socket.write(
        `${eventLine('DEVICE_DELETED', { device: 'a' })}${eventLine('DEVICE_DELETED', { device: 'b' })}${reply(command, {})}`,
      )
  })
  using client = await QmpClient.connect({ path: peer.path })

  const deleted = waitForEvent(client, 'DEVICE_DELETED', {
    timeoutMs: 1000,
    matching: ({ data }) => data.device === 'b',
  })
  await client.execute('device_del', { id: 'b' })
  assert.equal((await deleted).data.device, 'b')

  await assert.rejects(waitForEvent(client, 'STOP', { timeoutMs: 10 }), { awaited: 'STOP' })
  const never = waitForEvent(client, 'STOP', { timeoutMs: 1000 })
  await Promise.allSettled([client.execute('quit'), never])
  await assert.rejects(never, QmpClosedError)
  await assert.rejects(waitForEvent(client, 'STOP', { timeoutMs: 1000 }), QmpClosedError)
})
