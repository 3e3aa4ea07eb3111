import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { streams } from '@kvasir/contract'
import { WebSocket } from 'ws'
import { sampleVm, send, startApi } from './testing/running-api.ts'

const token = 'a-token-of-some-length'
const tokens = [
  { name: 'other', sha256: createHash('sha256').update('x').digest('hex') },
  { name: 'alice', sha256: createHash('sha256').update(token).digest('hex') },
]
const bearer = { authorization: `Bearer ${token}` }

async function startTcp() {
  const callers: string[] = []
  const running = await startApi({
    tokens,
    origins: ['https://kvasir.example'],
    handlers: {
      getVm: async ({ caller }) => {
        callers.push(caller.name)
        return sampleVm('web1')
      },
      pauseVm: async () => sampleVm('web1'),
    },
  })
  const server = running.api.tcpServer(undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // A TCP server has no other kind.
  return {
    callers,
    port,
    get: (headers: Record<string, string>) => send({ host: '127.0.0.1', port }, '/v1/vms/web1', { headers }),
    pause: (headers: Record<string, string>) =>
      send({ host: '127.0.0.1', port }, '/v1/vms/web1/pause', { method: 'POST', headers }),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  }
}

test('on TCP a known token tells who calls', async () => {
  await using tcp = await startTcp()

  assert.equal((await tcp.get(bearer)).status, 200)
  assert.deepEqual(tcp.callers, ['alice'])
})

for (const [what, headers] of [
  ['no token', {}],
  ['a wrong token', { authorization: 'Bearer nobody' }],
  ['the digest of a token', { authorization: `Bearer ${tokens[0]?.sha256}` }],
  ['another scheme', { authorization: `Basic ${token}` }],
  ['an empty token', { authorization: 'Bearer ' }],
] as [string, Record<string, string>][])
  test(`on TCP ${what} is refused before anything is parsed`, async () => {
    await using tcp = await startTcp()

    const answer = await tcp.get(headers)

    assert.equal(answer.status, 401)
    assert.equal(answer.headers['www-authenticate'], 'Bearer')
    assert.deepEqual(tcp.callers, [])
  })

test('what another origin makes a browser send is refused, with a token too', async () => {
  await using tcp = await startTcp()
  const own = `http://127.0.0.1:${tcp.port}`
  const foreign = ['https://evil.example', 'null', `${own}.evil.example`, 'file://', `https://127.0.0.1`]

  for (const origin of foreign) assert.equal((await tcp.pause({ ...bearer, origin })).status, 403, origin)
  assert.equal((await tcp.pause({ ...bearer, 'sec-fetch-site': 'cross-site' })).status, 403)
  for (const origin of [own, 'https://kvasir.example'])
    assert.equal((await tcp.pause({ ...bearer, origin })).status, 200, origin)
  assert.equal((await tcp.pause(bearer)).status, 200)
})

for (const path of Object.values(streams))
  test(`the stream ${path} is closed to other origins and to the unknown`, async () => {
    await using tcp = await startTcp()
    const statusOf = async (headers: Record<string, string>) => {
      const socket = new WebSocket(`ws://127.0.0.1:${tcp.port}${path}?ticket=x`, { headers })
      socket.on('error', () => {})
      const [, response] = await once(socket, 'unexpected-response')
      socket.terminate()
      return response.statusCode as number // As Node's HTTP client gives it.
    }

    assert.equal(await statusOf({ ...bearer, origin: 'https://evil.example' }), 403)
    assert.equal(await statusOf({ ...bearer, origin: 'null' }), 403)
    assert.equal(await statusOf({}), path === streams.events ? 401 : 403)
  })
