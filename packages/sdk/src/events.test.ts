import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Event } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract/error-table'
import { createClient } from './client.ts'
import { startScriptedDaemon } from './testing/scripted-daemon.ts'

function event(seq: number): Event {
  return { seq, at: '2026-01-01T00:00:00Z', kind: 'vm.state', subject: 'web1', data: {} }
}

async function take(events: AsyncIterable<Event>, count: number): Promise<number[]> {
  const seen: number[] = []
  for await (const { seq } of events) {
    seen.push(seq)
    if (seen.length === count) break
  }
  return seen
}

test('after a cut the stream goes on where it stopped, without loss or duplicates', async () => {
  await using daemon = await startScriptedDaemon({
    stream(socket, { query }) {
      const after = Number(query.get('after'))
      // Each connection repeats one known event and breaks after three.
      for (let seq = Math.max(1, after); seq <= after + 3; seq++) socket.send(JSON.stringify(event(seq)))
      setTimeout(() => socket.terminate(), 20)
    },
  })
  const client = createClient({ url: daemon.url })

  assert.deepEqual(await take(client.events({ after: 0 }), 9), [1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.deepEqual(
    daemon.asked.map((asked) => asked.query.get('after')),
    ['0', '3', '6'],
  )
})

test('a missing number is asked for again', async () => {
  let connections = 0
  await using daemon = await startScriptedDaemon({
    stream(socket) {
      connections++
      for (const seq of connections === 1 ? [1, 2, 4] : [3, 4, 5]) socket.send(JSON.stringify(event(seq)))
    },
  })

  assert.deepEqual(await take(createClient({ url: daemon.url }).events({ after: 0 }), 5), [1, 2, 3, 4, 5])
})

test('a number that stays missing ends the stream with events-gone', async () => {
  await using daemon = await startScriptedDaemon({
    stream: (socket) => socket.send(JSON.stringify(event(5))),
  })

  await assert.rejects(take(createClient({ url: daemon.url }).events({ after: 0 }), 1), {
    code: 'events-gone',
  })
})

test('a refused stream throws the refusal and is not tried again', async () => {
  await using daemon = await startScriptedDaemon({
    refuseStream: () => new KvasirError('events-gone', 'Events before 100 are no longer kept.'),
  })

  await assert.rejects(take(createClient({ url: daemon.url }).events({ after: 1 }), 1), {
    code: 'events-gone',
    message: 'Events before 100 are no longer kept.',
  })
  assert.equal(daemon.asked.length, 1)
})

test('a daemon that is not there at first is unreachable at once', async () => {
  await assert.rejects(take(createClient({ socketPath: '/nonexistent/k.sock' }).events({ after: 0 }), 1), {
    code: 'unreachable',
  })
})

test('a signal ends the stream, also while it waits', async () => {
  await using daemon = await startScriptedDaemon({
    stream: (socket) => socket.send(JSON.stringify(event(1))),
  })
  const signal = AbortSignal.timeout(100)
  await assert.rejects(take(createClient({ url: daemon.url }).events({ after: 0, signal }), 2), {
    name: 'TimeoutError',
  })
})

test('a slow reader gets every event of a fast daemon', async () => {
  await using daemon = await startScriptedDaemon({
    stream(socket) {
      for (let seq = 1; seq <= 5000; seq++) socket.send(JSON.stringify(event(seq)))
    },
  })
  let last = 0
  for await (const { seq } of createClient({ url: daemon.url }).events({ after: 0 })) {
    assert.equal(seq, last + 1)
    last = seq
    if (seq % 1000 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    if (seq === 5000) break
  }
  assert.equal(last, 5000)
})
