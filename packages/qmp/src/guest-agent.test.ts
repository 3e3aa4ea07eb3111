import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { QmpBusyError, QmpClosedError, QmpError, QmpProtocolError, QmpTimeoutError } from './errors.ts'
import {
  GuestAgentClient,
  maxAgentExchangeBytes,
  maxAgentLineBytes,
  maxWaitingAgentCommands,
} from './guest-agent.ts'
import { agentReply, listenFakeAgent, syncAnswer } from './testing/fake-agent.ts'
import { listenFakePeer, onCommands } from './testing/fake-peer.ts'

test('Getting in step skips what was left over before it, even half a line', async () => {
  await using peer = await listenFakePeer((socket) => {
    socket.write('garbage\n{"return": 7}\n\xff{"return": 8}\n{"error": {"class": "GenericError"')
    onCommands(socket, (command) => {
      socket.write(
        command.execute === 'guest-sync-delimited' ? syncAnswer(command) : agentReply({ 'host-name': 'g' }),
      )
    })
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  assert.deepEqual(await client.execute('guest-get-host-name'), { 'host-name': 'g' })
})

test('A guest without an agent is a time-out of the handshake', async () => {
  await using peer = await listenFakePeer(() => {})

  await assert.rejects(GuestAgentClient.connect({ path: peer.path, syncTimeoutMs: 30 }), (error) => {
    assert.ok(error instanceof QmpTimeoutError)
    assert.equal(error.awaited, 'guest-sync-delimited')
    assert.equal(
      error.message,
      `The guest agent at ${peer.path} did not answer within 30 ms, so nothing was asked of it.`,
    )
    return true
  })
})

test('Commands go one at a time, in the order of asking', async () => {
  const seen: string[] = []
  await using peer = await listenFakeAgent((command, socket) => {
    seen.push(`asked ${command.execute}`)
    setTimeout(() => {
      seen.push(`answered ${command.execute}`)
      socket.write(agentReply(command.execute === 'guest-ping' ? {} : 'thawed'))
    }, 5)
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  await Promise.all([client.execute('guest-fsfreeze-status'), client.execute('guest-ping')])

  assert.deepEqual(seen, [
    'asked guest-fsfreeze-status',
    'answered guest-fsfreeze-status',
    'asked guest-ping',
    'answered guest-ping',
  ])
})

test("After a time-out the late answer is not taken for the next command's", async () => {
  let late = ''
  await using peer = await listenFakeAgent((command, socket) => {
    if (command.execute === 'guest-get-time') {
      late = agentReply(111)
      return
    }
    socket.write(agentReply(222) + late)
    late = ''
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  await assert.rejects(client.execute('guest-get-time', undefined, { timeoutMs: 10 }), {
    awaited: 'guest-get-time',
  })
  assert.equal(await client.execute('guest-fsfreeze-thaw'), 222)
  await delay(50)
  assert.equal(await client.execute('guest-fsfreeze-thaw'), 222)
})

test("A refusal is the agent's own error and leaves the client in step", async () => {
  let handshakes = 0
  await using peer = await listenFakePeer((socket) => {
    onCommands(socket, (command) => {
      if (command.execute === 'guest-sync-delimited') {
        handshakes++
        socket.write(syncAnswer(command))
      } else if (command.execute === 'guest-ping') socket.write(agentReply({}))
      else socket.write('{"error": {"class": "CommandNotFound", "desc": "disabled"}}\n')
    })
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  await assert.rejects(client.execute('guest-exec', { path: '/bin/true' }), (error) => {
    assert.ok(error instanceof QmpError)
    assert.deepEqual([error.command, error.class], ['guest-exec', 'CommandNotFound'])
    return true
  })
  await client.execute('guest-ping')

  assert.equal(handshakes, 1)
})

test('An answer of the wrong shape says where it is wrong, and the next command is answered', async () => {
  const answers: unknown[] = [
    [{ name: 'eth0', 'ip-addresses': [{ 'ip-address': 7 }] }],
    { pid: '12' },
    'molten',
  ]
  await using peer = await listenFakeAgent((_command, socket) =>
    socket.write(agentReply(answers.shift() ?? {})),
  )
  using client = await GuestAgentClient.connect({ path: peer.path })

  await assert.rejects(
    client.execute('guest-network-get-interfaces'),
    /guest-network-get-interfaces\[0\]\.ip-addresses\[0\]\.ip-address is not a string/,
  )
  await assert.rejects(client.execute('guest-exec', { path: '/bin/true' }), QmpProtocolError)
  await assert.rejects(client.execute('guest-fsfreeze-status'), /is not thawed or frozen/)
  await client.execute('guest-ping')
})

test('A shutdown that is not refused counts as accepted, one that is refused rejects', async () => {
  const behaviours: ((socket: Socket) => void)[] = [
    () => {},
    (socket) => socket.write('{"error": {"class": "GenericError", "desc": "no"}}\n'),
    (socket) => socket.end(),
  ]
  await using peer = await listenFakeAgent((_command, socket) => behaviours.shift()?.(socket))
  using client = await GuestAgentClient.connect({ path: peer.path, silenceMs: 50 })

  await client.execute('guest-shutdown', { mode: 'powerdown' })
  await assert.rejects(client.execute('guest-shutdown', { mode: 'reboot' }), QmpError)
  await client.execute('guest-shutdown')

  assert.deepEqual(await client.closed, { kind: 'ended-by-peer' })
})

test('A guest that sends an endless line loses its channel', async () => {
  await using peer = await listenFakeAgent((_command, socket) => {
    for (let sent = 0; sent <= maxAgentLineBytes; sent += 65_536) socket.write('x'.repeat(65_536))
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  await assert.rejects(client.execute('guest-ping'), /a line is longer than 1048576 bytes/)
  assert.equal((await client.closed).kind, 'protocol-error')
})

test('A guest that sends endlessly many lines in place of an answer loses its channel', async () => {
  await using peer = await listenFakePeer((socket) => {
    const noise = '{"noise": 1}\n'.repeat(4096)
    onCommands(socket, () => {
      for (let sent = 0; sent <= maxAgentExchangeBytes + 65_536; sent += noise.length) socket.write(noise)
    })
  })

  await assert.rejects(GuestAgentClient.connect({ path: peer.path }), (error) => {
    assert.ok(error instanceof QmpClosedError)
    assert.match(error.message, /more than 4194304 bytes in answer to one command/)
    return true
  })
})

test('A guest that talks unasked is not read until something is asked', async () => {
  let talker: Socket | undefined
  await using peer = await listenFakePeer((socket) => {
    talker = socket
    onCommands(socket, (command) => socket.write(syncAnswer(command)))
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  talker?.write(agentReply({ 'host-name': 'false' }).repeat(200_000))
  await delay(50)

  assert.ok((talker?.writableLength ?? 0) > 0, 'the flood waits on the side of the guest')
  assert.equal(client.closeReason, undefined)
  await assert.rejects(client.execute('guest-get-host-name'), /more than 4194304 bytes/)
})

test('After an unasked line, or half of one, the client gets in step before the next command', async () => {
  let talker: Socket | undefined
  let handshakes = 0
  await using peer = await listenFakePeer((socket) => {
    talker = socket
    onCommands(socket, (command) => {
      const isSync = command.execute === 'guest-sync-delimited'
      if (isSync) handshakes++
      socket.write(isSync ? syncAnswer(command) : agentReply({ 'host-name': 'true' }))
    })
  })
  using client = await GuestAgentClient.connect({ path: peer.path })

  for (const noise of [agentReply({ 'host-name': 'false' }), '{"return": {"host-na']) {
    const before = handshakes
    talker?.write(noise)
    await delay(10)

    assert.deepEqual(await client.execute('guest-get-host-name'), { 'host-name': 'true' })
    assert.equal(handshakes, before + 1)
  }
})

test('A channel that dies in the middle of a command rejects what runs and what waits', async () => {
  await using peer = await listenFakeAgent((_command, socket) => socket.end('{"retu'))
  using client = await GuestAgentClient.connect({ path: peer.path })

  const outcomes = await Promise.allSettled([client.execute('guest-ping'), client.execute('guest-info')])

  for (const outcome of outcomes)
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof QmpClosedError)
  await assert.rejects(client.execute('guest-ping'), QmpClosedError)
})

test('An aborted command leaves its turn to the next, whether it ran or waited', async () => {
  await using peer = await listenFakeAgent((command, socket) => {
    if (command.execute === 'guest-ping') socket.write(agentReply({}))
  })
  using client = await GuestAgentClient.connect({ path: peer.path })
  const controller = new AbortController()
  const reason = new Error('the user gave up')

  const running = client.execute('guest-info', undefined, { signal: controller.signal })
  const waiting = client.execute('guest-get-osinfo', undefined, { signal: controller.signal })
  const next = client.execute('guest-ping')
  controller.abort(reason)

  await assert.rejects(running, reason)
  await assert.rejects(waiting, reason)
  await next
})

test('When too many commands wait for their turn, one more is refused', async () => {
  await using peer = await listenFakeAgent(() => {})
  using client = await GuestAgentClient.connect({ path: peer.path })
  const limits = { timeoutMs: 50 }
  const asked = Array.from({ length: maxWaitingAgentCommands + 1 }, () =>
    client.execute('guest-ping', undefined, limits),
  )

  await assert.rejects(client.execute('guest-ping'), QmpBusyError)
  for (const outcome of await Promise.allSettled(asked)) {
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof QmpTimeoutError)
  }
})
