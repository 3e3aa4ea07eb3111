/** Contents of volumes over HTTP: parts, tags, both forms, and what clients get wrong. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { test } from 'node:test'
import { eventually } from '../testing/simulated-daemon.ts'
import { type SimulatedApi, startSimulatedApi } from './testing/simulated-api.ts'

/** Small: other tests of this process look at its memory. */
const unit = 128 * 1024
const size = 3 * unit
const place = '/v1/pools/default/volumes/data'

/** What is uploaded: a unit of ones, one of zeros, one of twos. */
const contents = Buffer.concat([Buffer.alloc(unit, 1), Buffer.alloc(unit), Buffer.alloc(unit, 2)])

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

async function ask(
  world: SimulatedApi,
  method: string,
  path: string,
  { headers = {}, body }: { readonly headers?: Record<string, string>; readonly body?: Buffer } = {},
): Promise<Answer> {
  const request = http.request({ socketPath: world.api.address, method, path, headers, agent: false })
  request.end(body)
  const [incoming] = (await once(request, 'response')) as [http.IncomingMessage] // As node:http says.
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) }
}

async function upload(world: SimulatedApi): Promise<void> {
  await world.post(200, `${place}/upload`, { size })
  const headers = { 'content-type': 'application/octet-stream' }
  const sent = await ask(world, 'PATCH', `${place}/contents?offset=0`, { headers, body: contents })
  assert.deepEqual(
    [sent.status, JSON.parse(sent.body.toString())],
    [200, { offsetBytes: size, sizeBytes: size }],
  )
  await world.post(202, `${place}/upload/finish?wait=10`)
}

test('what was sent as plain bytes comes back, whole and in parts', async () => {
  await using world = await startSimulatedApi()
  await upload(world)

  const whole = await ask(world, 'GET', `${place}/contents`)
  const part = (range: string, more: Record<string, string> = {}) =>
    ask(world, 'GET', `${place}/contents`, { headers: { range, ...more } })
  const rest = await part(`bytes=${unit - 1}-`, { 'if-range': String(whole.headers.etag) })
  const middle = await part('bytes=5-9')

  assert.ok(whole.status === 200 && whole.body.equals(contents))
  assert.equal(whole.headers['accept-ranges'], 'bytes')
  assert.ok(rest.status === 206 && rest.body.equals(contents.subarray(unit - 1)))
  assert.equal(rest.headers['content-range'], `bytes ${unit - 1}-${size - 1}/${size}`)
  assert.deepEqual([middle.headers['content-length'], middle.body], ['5', contents.subarray(5, 10)])
  assert.equal((await part('bytes=0-', { 'if-range': '"other"' })).status, 200)
  assert.equal((await part('lines=1-2')).status, 200)
  assert.equal((await part(`bytes=${size}-`)).status, 416)
})

test('with frames, zeros do not travel', async () => {
  await using world = await startSimulatedApi()
  await upload(world)

  const headers = { accept: 'application/vnd.kvasir.extents' }
  const framed = await ask(world, 'GET', `${place}/contents`, { headers })

  assert.equal(framed.headers['content-type'], 'application/vnd.kvasir.extents')
  assert.equal(framed.headers['kvasir-size'], String(size))
  assert.ok(framed.body.length < 2 * unit + 100, `${framed.body.length} bytes`)
})

test('a client that goes in the middle leaves a volume that is free', async () => {
  await using world = await startSimulatedApi()
  await upload(world)
  const request = http.get({ socketPath: world.api.address, path: `${place}/contents`, agent: false })
  const [incoming] = (await once(request, 'response')) as [http.IncomingMessage]
  await once(incoming, 'data')

  request.destroy()

  // The daemon learns of it a moment later.
  await eventually(
    async () => (await world.api.send(place, { method: 'DELETE' })).status === 204,
    'it is free',
  )
})

test('a stream is taken only where contents are, and JSON is none', async () => {
  await using world = await startSimulatedApi()
  await world.post(200, `${place}/upload`, { size })
  const binary = { headers: { 'content-type': 'application/octet-stream' }, body: Buffer.from('{}') }

  assert.equal((await ask(world, 'POST', '/v1/vms', binary)).status, 400)
  const json = { headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') }
  assert.equal((await ask(world, 'PATCH', `${place}/contents?offset=0`, json)).status, 400)
  assert.equal((await ask(world, 'PATCH', `${place}/contents?offset=1`, binary)).status, 412)
  assert.equal((await ask(world, 'HEAD', `${place}/contents`)).status, 404)
})
