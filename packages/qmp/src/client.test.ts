import assert from 'node:assert/strict'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { QmpClient } from './client.ts'
import { QmpClosedError, QmpError, QmpTimeoutError } from './errors.ts'
import {
  type FakeCommand,
  greeting,
  listenFakeMonitor,
  listenFakePeer,
  onCommands,
  reply,
} from './testing/fake-peer.ts'

test("A command is answered, and its version is the greeting's", async () => {
  await using peer = await listenFakeMonitor((command, socket) =>
    socket.write(reply(command, { status: 'running' })),
  )
  using client = await QmpClient.connect({ path: peer.path })

  const status = await client.execute('query-status')

  assert.equal(status.status, 'running')
  assert.deepEqual(client.version, { major: 7, minor: 2, micro: 22, package: 'fake' })
})

test('Greeting and replies are understood when they come byte by byte', async () => {
  await using peer = await listenFakePeer((socket) => {
    socket.setNoDelay(true)
    const trickle = async (text: string): Promise<void> => {
      for (const byte of Buffer.from(text)) {
        socket.write(Buffer.of(byte))
        await new Promise(setImmediate)
      }
    }
    void trickle(greeting)
    onCommands(socket, (command) => void trickle(reply(command, { name: 'bä' })))
  })
  using client = await QmpClient.connect({ path: peer.path })

  assert.equal((await client.execute('query-name')).name, 'bä')
})

test('Two replies in one piece settle two commands, in any order', async () => {
  const waiting: FakeCommand[] = []
  await using peer = await listenFakeMonitor((command, socket) => {
    waiting.push(command)
    if (waiting.length < 2) return
    socket.write(
      waiting
        .toReversed()
        .map((one) => reply(one, { name: one.execute }))
        .join(''),
    )
  })
  using client = await QmpClient.connect({ path: peer.path })

  const [first, second] = await Promise.all([client.execute('query-name'), client.execute('query-uuid')])

  assert.deepEqual(first, { name: 'query-name' })
  assert.deepEqual(second, { name: 'query-uuid' })
})

test('A refusal carries class, text and command', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    const error = { class: 'DeviceNotFound', desc: "Device 'x' not found" }
    socket.write(`${JSON.stringify({ error, id: command.id })}\n`)
  })
  using client = await QmpClient.connect({ path: peer.path })

  await assert.rejects(client.execute('device_del', { id: 'x' }), (error) => {
    assert.ok(error instanceof QmpError)
    assert.deepEqual(
      [error.command, error.class, error.desc],
      ['device_del', 'DeviceNotFound', "Device 'x' not found"],
    )
    return true
  })
})

test('A command that only a newer QEMU has is refused with the versions that have it', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    socket.write(
      `${JSON.stringify({ error: { class: 'CommandNotFound', desc: 'not found' }, id: command.id })}\n`,
    )
  })
  using client = await QmpClient.connect({ path: peer.path })

  await assert.rejects(
    client.execute('query-hv-balloon-status-report'),
    /this is QEMU 7\.2\.22; .* only 10\.0 has it/,
  )
})

test('A mute peer is a time-out that names the likely reasons', async () => {
  await using peer = await listenFakePeer(() => {})

  await assert.rejects(QmpClient.connect({ path: peer.path, greetingTimeoutMs: 30 }), (error) => {
    assert.ok(error instanceof QmpTimeoutError)
    assert.equal(error.awaited, 'greeting')
    assert.match(error.message, /another client holds it/)
    return true
  })
})

test('A peer that greets but never negotiates is a time-out too', async () => {
  await using peer = await listenFakePeer((socket) => socket.write(greeting))

  await assert.rejects(QmpClient.connect({ path: peer.path, greetingTimeoutMs: 30 }), {
    awaited: 'qmp_capabilities',
  })
})

test("A path without a listener is unreachable, with the system's code", async () => {
  const path = join(tmpdir(), 'kvasir-qmp-nobody.sock')

  await assert.rejects(QmpClient.connect({ path }), (error) => {
    assert.ok(error instanceof QmpClosedError)
    assert.deepEqual(error.reason, { kind: 'unreachable', code: 'ENOENT' })
    return true
  })
})

test('When the peer dies in the middle of a command, everything pending rejects and nothing more is sent', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    if (command.execute === 'query-block') socket.end('{"return": {"half')
  })
  using client = await QmpClient.connect({ path: peer.path })

  const outcomes = await Promise.allSettled([client.execute('query-status'), client.execute('query-block')])

  for (const outcome of outcomes)
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof QmpClosedError)
  assert.deepEqual(await client.closed, { kind: 'ended-by-peer' })
  await assert.rejects(client.execute('query-status'), /query-status was not sent/)
})

test('A reply after the time-out is dropped and confuses no later command', async () => {
  const late: FakeCommand[] = []
  await using peer = await listenFakeMonitor((command, socket) => {
    if (command.execute === 'query-name') late.push(command)
    else socket.write([...late.map((one) => reply(one, 'late')), reply(command, { UUID: 'u' })].join(''))
  })
  using client = await QmpClient.connect({ path: peer.path })

  await assert.rejects(client.execute('query-name', {}, { timeoutMs: 20 }), QmpTimeoutError)
  assert.equal(client.unansweredCommands, 1)

  assert.deepEqual(await client.execute('query-uuid'), { UUID: 'u' })
  assert.equal(client.unansweredCommands, 0)
  assert.equal(client.strayReplies, 0)
})

test("An aborted command rejects with the signal's reason, before and after it was sent", async () => {
  await using peer = await listenFakeMonitor(() => {})
  using client = await QmpClient.connect({ path: peer.path })
  const controller = new AbortController()
  const reason = new Error('the user gave up')

  const running = client.execute('query-status', {}, { signal: controller.signal })
  controller.abort(reason)

  await assert.rejects(running, reason)
  await assert.rejects(client.execute('query-status', {}, { signal: controller.signal }), reason)
  assert.equal(client.unansweredCommands, 1)
})

test('Connecting can be aborted', async () => {
  await using peer = await listenFakePeer(() => {})
  const reason = new Error('stop')
  const controller = new AbortController()

  const connecting = QmpClient.connect({ path: peer.path, signal: controller.signal })
  setTimeout(() => controller.abort(reason), 10)

  await assert.rejects(connecting, reason)
})

test('Replies that nobody asked for are counted and otherwise ignored', async () => {
  await using peer = await listenFakeMonitor((command, socket) => {
    socket.write(`{"return":{}}\n{"return":{},"id":7}\n{"error":{},"id":"previous-1"}\n${reply(command, {})}`)
  })
  using client = await QmpClient.connect({ path: peer.path })

  await client.execute('cont')

  assert.equal(client.strayReplies, 3)
})

test('A peer that ends with a command half read rejects it at once', async () => {
  await using peer = await listenFakePeer((socket) => {
    socket.write(greeting)
    onCommands(socket, (command) => {
      socket.write(reply(command, {}))
      socket.pause()
      setTimeout(() => socket.end(), 20)
    })
  })
  using client = await QmpClient.connect({ path: peer.path })
  const large = { 'command-line': 'x'.repeat(6 * 1024 * 1024) }

  await assert.rejects(client.execute('human-monitor-command', large, { timeoutMs: 2000 }), QmpClosedError)
})

test('An answered command leaves no timer behind', async () => {
  await using peer = await listenFakeMonitor((command, socket) => socket.write(reply(command, {})))
  using client = await QmpClient.connect({ path: peer.path })
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()

  for (let i = 0; i < 10; i++) await client.execute('cont', {}, { timeoutMs: 60_000 })

  assert.equal(timers(), before)
})

test('Text that QEMU cannot read is refused before it is sent', async () => {
  await using peer = await listenFakeMonitor((command, socket) => socket.write(reply(command, {})))
  using client = await QmpClient.connect({ path: peer.path })

  for (const id of ['nul \0', 'half \ud800', '\\\udc00']) {
    await assert.rejects(client.execute('device_del', { id }), /which QMP cannot carry/)
  }
  for (const id of ['\\u0000', '\\\\ud800', '😀']) await client.execute('device_del', { id })
})

test('Closing rejects what is pending and tells the peer', async () => {
  const ended = Promise.withResolvers<void>()
  await using peer = await listenFakeMonitor(
    (_command, socket) => void once(socket, 'close').then(() => ended.resolve()),
  )
  const client = await QmpClient.connect({ path: peer.path })
  const pending = client.execute('query-status')
  await delay(10)

  client.close()

  await assert.rejects(pending, { reason: { kind: 'closed-by-us' } })
  assert.deepEqual(await client.closed, { kind: 'closed-by-us' })
  await ended.promise
})
