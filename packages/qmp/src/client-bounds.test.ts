import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maxLineBytes, maxUnansweredCommands, QmpClient } from './client.ts'
import { QmpBusyError, QmpClosedError, QmpProtocolError } from './errors.ts'
import { greeting, listenFakeMonitor, listenFakePeer, onCommands, reply } from './testing/fake-peer.ts'

test('A peer that speaks something else is a protocol error', async () => {
  for (const text of ['SSH-2.0-OpenSSH\r\n', '{"hello":1}\n', '{"QMP":{}}\n', '[]\n']) {
    await using peer = await listenFakePeer((socket) => socket.write(text))
    await assert.rejects(QmpClient.connect({ path: peer.path }), QmpProtocolError)
  }
})

test('Garbage in the stream closes the connection and rejects what is pending', async () => {
  await using peer = await listenFakeMonitor((_command, socket) => socket.write('}}}}\n'))
  using client = await QmpClient.connect({ path: peer.path })

  await assert.rejects(client.execute('query-status'), (error) => {
    assert.ok(error instanceof QmpClosedError)
    assert.ok(error.cause instanceof QmpProtocolError)
    return true
  })
  assert.equal((await client.closed).kind, 'protocol-error')
})

test('A line beyond the bound closes the connection', async () => {
  const piece = Buffer.alloc(1024 * 1024, 'x')
  await using peer = await listenFakeMonitor((_command, socket) => {
    socket.write('{"return":"')
    for (let sent = 0; sent <= maxLineBytes; sent += piece.length) socket.write(piece)
  })
  using client = await QmpClient.connect({ path: peer.path })

  await assert.rejects(client.execute('query-status'), /a line is longer than 16777216 bytes/)
})

test('A value nested too deeply closes the connection', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    socket.write(`{"id":"${command.id}","return":${'['.repeat(100_000)}${']'.repeat(100_000)}}\n`)
  })
  using client = await QmpClient.connect({ path: peer.path })

  await assert.rejects(client.execute('query-status'), /nested deeper than 64/)
})

test('A peer that answers nothing makes the client refuse, not grow', async () => {
  await using peer = await listenFakeMonitor(() => {})
  using client = await QmpClient.connect({ path: peer.path })
  const commands = Array.from({ length: maxUnansweredCommands }, () =>
    client.execute('stop', {}, { timeoutMs: 1 }),
  )
  await Promise.allSettled(commands)

  await assert.rejects(client.execute('stop'), QmpBusyError)
})

test('A peer that reads nothing makes the client refuse large commands', async () => {
  await using peer = await listenFakePeer((socket) => {
    socket.write(greeting)
    onCommands(socket, (command) => {
      socket.write(reply(command, {}))
      socket.pause()
    })
  })
  using client = await QmpClient.connect({ path: peer.path })
  const large = { 'command-line': 'x'.repeat(6 * 1024 * 1024) }
  const attempts = Array.from({ length: 4 }, () =>
    client.execute('human-monitor-command', large, { timeoutMs: 50 }),
  )

  const outcomes = await Promise.allSettled(attempts)

  assert.ok(outcomes.some((one) => one.status === 'rejected' && one.reason instanceof QmpBusyError))
})
