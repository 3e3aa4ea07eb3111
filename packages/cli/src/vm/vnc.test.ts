import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { startScriptedDaemon } from '@kvasir/sdk/testing/scripted-daemon'
import { dispatch } from '../dispatch.ts'
import { kvasir } from '../testing/run-command-line.ts'
import { parseListenAddress, writeAddress } from './listen-address.ts'

const ticketed = {
  request: () => ({
    status: 201,
    json: { ticket: 't', url: '/v1/streams/vnc?ticket=t', expiresAt: '2099-01-01T00:00:00Z' },
  }),
}

/** A daemon whose displays greet, and answer what they are sent in capitals. */
function startDisplays() {
  return startScriptedDaemon({
    ...ticketed,
    stream(socket, { path, query }) {
      assert.deepEqual([path, query.get('ticket')], ['/v1/streams/vnc', 't'])
      socket.send(Buffer.from('RFB'))
      socket.on('message', (data: Buffer) => {
        if (data.toString() === 'off') socket.close(1000, 'the display has ended')
        else socket.send(Buffer.from(data.toString().toUpperCase()))
      })
    },
  })
}

/** Runs `kvasir vm vnc` within this process until it is disposed of. */
async function serve(url: string, ...flags: string[]) {
  const stopping = new AbortController()
  const said: string[] = []
  const address = Promise.withResolvers<URL>()
  const code = dispatch(['vm', 'vnc', 'web1', ...flags], {
    stdout: { write: (text) => Boolean(address.resolve(new URL(String(text).trim()))) || true },
    stderr: { write: (text) => said.push(String(text)) > 0 },
    environment: { KVASIR_URL: url },
    signal: stopping.signal,
  })
  const { hostname, port } = await address.promise
  return {
    hostname,
    port: Number(port),
    said,
    async stop() {
      stopping.abort(new DOMException('', 'AbortError'))
      return await code
    },
  }
}

async function read(viewer: Socket): Promise<string> {
  const [bytes] = await once(viewer, 'data')
  return String(bytes)
}

test('a viewer talks to the display, each with a ticket of its own, until Ctrl-C', async () => {
  await using daemon = await startDisplays()
  const serving = await serve(daemon.url)
  const viewers = [connect(serving.port, serving.hostname), connect(serving.port, serving.hostname)]

  for (const viewer of viewers) assert.equal(await read(viewer), 'RFB')
  for (const [index, viewer] of viewers.entries()) {
    viewer.write(`key ${index}`)
    assert.equal(await read(viewer), `KEY ${index}`)
  }
  const closed = viewers.map((viewer) => once(viewer, 'close'))

  assert.equal(await serving.stop(), 130)
  await Promise.all(closed)
  assert.equal(serving.hostname, '127.0.0.1')
  const tickets = daemon.asked.filter(({ path }) => path === '/v1/vms/web1/vnc')
  assert.equal(tickets.length, 3, 'One was to see whether there is a display.')
  await assert.rejects(once(connect(serving.port, serving.hostname), 'connect'), { code: 'ECONNREFUSED' })
})

test('a display that ends closes its viewer, says so, and the next may come', async () => {
  await using daemon = await startDisplays()
  const serving = await serve(daemon.url)
  const first = connect(serving.port, serving.hostname)
  assert.equal(await read(first), 'RFB')

  first.write('off')
  await once(first, 'close')
  const second = connect(serving.port, serving.hostname)
  assert.equal(await read(second), 'RFB')
  second.destroy()

  await serving.stop()
  assert.match(serving.said.join(''), /The display of VM web1 has ended\./)
})

test('a display that cannot be had is refused before anybody is told where it would be', async () => {
  await using daemon = await startScriptedDaemon({
    request: () => ({ refuse: 'wrong-state', sentence: 'VM web1 is shutoff, so it has no console.' }),
  })

  const { code, stdout, stderr } = await kvasir(['vm', 'vnc', 'web1'], daemon)

  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /is shutoff/)
})

test('a port that is taken is refused with a sentence', async () => {
  await using daemon = await startDisplays()
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const bound = other.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0

  const { code, stderr } = await kvasir(['vm', 'vnc', 'web1', '--listen', String(port)], daemon)

  other.close()
  assert.equal(code, 1)
  assert.match(stderr, new RegExp(`^Another program listens on 127\\.0\\.0\\.1:${port}, so`))
})

test('whoever listens for others is told who can come', async () => {
  await using daemon = await startDisplays()
  const serving = await serve(daemon.url, '--listen', '0.0.0.0:0')

  await serving.stop()

  assert.match(serving.said.join(''), /sees it and can type, without a password/)
})

test('an address is a port, or an address and a port', () => {
  const read = (text?: string) => writeAddress(parseListenAddress(text))

  assert.deepEqual(
    [read(), read('5901'), read('10.0.0.1:5901'), read('[::1]:5901')],
    ['127.0.0.1:0', '127.0.0.1:5901', '10.0.0.1:5901', '[::1]:5901'],
  )
  for (const text of ['', 'web1', ':5901', '::1:5901', '65536', '127.0.0.1', 'localhost:5901', '[1.2.3.4]:1'])
    assert.throws(() => parseListenAddress(text), { name: 'UsageError' }, text)
})
