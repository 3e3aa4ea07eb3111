import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { apiLimits } from './limits.ts'
import { type RunningApi, sampleVm, startApi } from './testing/running-api.ts'

const handlers = { getVm: async () => sampleVm('web1') }

async function stillServes(api: RunningApi): Promise<void> {
  assert.equal((await api.send('/v1/vms/web1')).status, 200)
}

const garbage: readonly [what: string, bytes: string | Uint8Array, answer: RegExp][] = [
  ['a TLS hello', new Uint8Array([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), /^HTTP\/1\.1 400 /],
  ['NULs', new Uint8Array(64), /^HTTP\/1\.1 400 /],
  ['a word', 'hello\r\n\r\n', /^HTTP\/1\.1 400 /],
  ['a negative length', 'POST /v1/vms HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n', /^HTTP\/1\.1 400 /],
  [
    'two lengths',
    'POST /v1/vms HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'a length beside chunks',
    'POST /v1/vms HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'a broken chunk',
    'POST /v1/vms HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    /^HTTP\/1\.1 400 /,
  ],
  [
    'a header without an end',
    `GET / HTTP/1.1\r\nX: ${'a'.repeat(apiLimits.headerBytes + 1024)}`,
    /^HTTP\/1\.1 413 .*/,
  ],
]
for (const [what, bytes, wanted] of garbage)
  test(`${what} on the socket is answered with a problem and the API serves on`, async () => {
    await using api = await startApi({ handlers })

    const answer = await api.sendRaw(bytes)

    assert.match(answer, wanted)
    assert.match(answer, /application\/problem\+json/)
    await stillServes(api)
  })

test('random bytes never end the API', async () => {
  await using api = await startApi({ handlers })
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .constantFrom(
        'GET /v1/vms/web1 HTTP/1.1\r\n',
        'Upgrade: websocket\r\nConnection: upgrade\r\n',
        '\r\n\r\n',
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        'CONNECT a:1 HTTP/1.1\r\n\r\n',
        'POST /v1/vms HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n',
      )
      .map((text) => new TextEncoder().encode(text)),
  )

  await fc.assert(
    fc.asyncProperty(fc.array(pieces, { maxLength: 6 }), async (parts) => {
      const socket = connect(api.address)
      socket.on('error', () => {}) // The API may close while we write.
      socket.on('data', () => {})
      const closed = once(socket, 'close')
      await once(socket, 'connect')
      socket.end(Buffer.concat(parts))
      await closed
    }),
    { numRuns: 100 },
  )

  await stillServes(api)
  assert.deepEqual(api.logged, [])
})

test('a client that hangs up in the middle of its body leaves nothing behind', async () => {
  await using api = await startApi({ handlers })

  const socket = connect(api.address)
  await once(socket, 'connect')
  socket.write(
    'POST /v1/vms HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"name":',
  )
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.destroy()

  await stillServes(api)
  assert.deepEqual(api.logged, [])
})

test('a request to upgrade to something else is served as it is', async () => {
  await using api = await startApi({ handlers })

  const answer = await api.sendRaw(
    'GET /v1/vms/web1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n',
  )

  assert.match(answer, /^HTTP\/1\.1 200 OK/)
})

test('a client that is slow to say what it wants has bounded time', async () => {
  await using api = await startApi({ handlers })

  const server = api.api.unixServer()

  assert.equal(Reflect.get(server, 'headersTimeout'), apiLimits.headersTimeoutMs)
  assert.equal(Reflect.get(server, 'requestTimeout'), apiLimits.requestTimeoutMs)
  assert.equal(server.maxConnections, apiLimits.connections)
})
