import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Event } from '@kvasir/contract'
import { MemoryFeed, type RunningApi, startApi } from '../testing/running-api.ts'
import { bytesOf } from './bytes-of.ts'
import { streamLimits } from './limits.ts'

/** Follows the stream, going on after each cut from the last number that was read, until `last` was read. */
async function follow(api: RunningApi, after: number, last: number, cutEvery: number): Promise<number[]> {
  const seen: number[] = []
  let cursor = after
  while (cursor < last) {
    const socket = api.openSocket(`/v1/events/stream?after=${cursor}`)
    let read = 0
    socket.on('message', (data) => {
      if (read++ >= cutEvery) return
      const event: Event = JSON.parse(bytesOf(data).toString())
      seen.push(event.seq)
      cursor = event.seq
      if (read === cutEvery || cursor >= last) socket.terminate()
    })
    await once(socket, 'close')
  }
  return seen
}

async function refusal(api: RunningApi, path: string): Promise<{ status: number; code: string }> {
  const socket = api.openSocket(path)
  socket.on('error', () => {}) // Terminating before the handshake is one.
  const [, response] = await once(socket, 'unexpected-response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  socket.terminate()
  const { code, status } = JSON.parse(Buffer.concat(chunks).toString())
  assert.equal(status, response.statusCode)
  return { status, code }
}

test('a burst of events arrives once each and in order, through cuts', async () => {
  const feed = new MemoryFeed()
  await using api = await startApi({ feed })
  for (let count = 0; count < 500; count++) feed.emit()
  const burst = setInterval(() => {
    for (let count = 0; count < 100 && feed.range().latest < 2_000; count++) feed.emit()
  }, 1)

  const [one, two] = await Promise.all([follow(api, 0, 2_000, 333), follow(api, 100, 2_000, 47)])
  clearInterval(burst)

  assert.deepEqual(
    one,
    Array.from({ length: 2_000 }, (_, index) => index + 1),
  )
  assert.deepEqual(
    two,
    Array.from({ length: 1_900 }, (_, index) => index + 101),
  )
})

test('without a number only what happens from now on is told', async () => {
  const feed = new MemoryFeed()
  await using api = await startApi({ feed })
  feed.emit('before')
  const socket = api.openSocket('/v1/events/stream')
  await once(socket, 'open')

  feed.emit('after')

  const [data] = await once(socket, 'message')
  const event: Event = JSON.parse(bytesOf(data).toString())
  assert.deepEqual([event.seq, event.subject], [2, 'after'])
  socket.terminate()
})

test('events that are no longer kept, or were never given out, are refused as gone', async () => {
  const feed = new MemoryFeed(10)
  await using api = await startApi({ feed })
  for (let count = 0; count < 30; count++) feed.emit()

  assert.deepEqual(await refusal(api, '/v1/events/stream?after=0'), { status: 410, code: 'events-gone' })
  assert.deepEqual(await refusal(api, '/v1/events/stream?after=19'), { status: 410, code: 'events-gone' })
  assert.deepEqual(await refusal(api, '/v1/events/stream?after=31'), { status: 410, code: 'events-gone' })
  assert.deepEqual(await follow(api, 20, 30, 100), [21, 22, 23, 24, 25, 26, 27, 28, 29, 30])
})

for (const [path, code] of [
  ['/v1/events/stream?after=x', 'bad-request'],
  ['/v1/events/stream?after=-1', 'bad-request'],
  ['/v1/events/stream?since=1', 'bad-request'],
  ['/v1/events', 'unknown-endpoint'],
  ['/v1/streams/console', 'bad-request'],
  ['/v1/streams/console?ticket=', 'bad-request'],
  ['/v1/streams/console?ticket=x', 'ticket-invalid'],
  ['/v1/streams/vnc?ticket=x', 'ticket-invalid'],
  ['//x', 'unknown-endpoint'],
] as const)
  test(`an upgrade of ${path} is refused with ${code}`, async () => {
    await using api = await startApi()

    assert.equal((await refusal(api, path)).code, code)
  })

test('a client that goes is forgotten', async () => {
  const feed = new MemoryFeed()
  await using api = await startApi({ feed })
  const socket = api.openSocket('/v1/events/stream')
  await once(socket, 'open')
  assert.equal(feed.listeners, 1)

  socket.terminate()

  for (let waited = 0; feed.listeners > 0 && waited < 1_000; waited += 10)
    await new Promise((resolve) => setTimeout(resolve, 10))
  assert.equal(feed.listeners, 0)
})

test('a client that does not read costs a bounded buffer, and reads on where it stopped', async () => {
  const feed = new MemoryFeed()
  await using api = await startApi({ feed })
  const socket = api.openSocket('/v1/events/stream?after=0')
  await once(socket, 'open')
  socket.pause()
  const subject = 'x'.repeat(1_000)
  const before = process.memoryUsage().arrayBuffers // Of other tests too: files share a process.
  for (let count = 0; count < 5_000; count++) feed.emit(subject)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const heldBytes = process.memoryUsage().arrayBuffers - before

  const seen: number[] = []
  socket.on('message', (data) => seen.push(JSON.parse(bytesOf(data).toString()).seq))
  socket.resume()
  for (let waited = 0; seen.length < 5_000 && waited < 5_000; waited += 20)
    await new Promise((resolve) => setTimeout(resolve, 20))

  assert.deepEqual(
    seen,
    Array.from({ length: 5_000 }, (_, index) => index + 1),
  )
  assert.ok(heldBytes < streamLimits.unsentBytes * 8, String(heldBytes))
  socket.terminate()
})

test('a message larger than the bound ends the stream, not the API', async () => {
  await using api = await startApi()
  const socket = api.openSocket('/v1/events/stream')
  await once(socket, 'open')

  socket.send(Buffer.alloc(streamLimits.messageBytes + 1))

  const [code] = await once(socket, 'close')
  assert.equal(code, 1009)
  assert.equal((await api.send('/v1/openapi.json')).status, 200)
})

test('a closing API tells its streams', async () => {
  const api = await startApi()
  const socket = api.openSocket('/v1/events/stream')
  await once(socket, 'open')

  const closing = api.api.close({ graceMs: 1_000 })

  const [code] = await once(socket, 'close')
  assert.equal(code, 1001)
  await closing
})
