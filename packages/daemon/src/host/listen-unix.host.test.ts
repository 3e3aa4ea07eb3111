import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../tools/require.ts'
import { listenUnix } from './listen-unix.ts'

const skip = needs('root')

async function newPath(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-socket-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return { directory, path: join(directory, 'kvasir.sock') }
}

function newServer(t: TestContext) {
  const server = createServer((socket) => {
    socket.on('error', () => {}) // A probe hangs up at once.
    socket.end('hello')
  })
  t.after(() => server.close())
  return server
}

test('the socket belongs to root and the group, and nobody else may connect', { skip }, async (t) => {
  const { path, directory } = await newPath(t)

  const { groupFound } = await listenUnix(newServer(t), { path, group: 'daemon' })

  const { mode, uid, gid } = statSync(path)
  assert.equal(groupFound, true)
  assert.deepEqual([mode & 0o777, uid], [0o660, 0])
  assert.notEqual(gid, 0)
  assert.deepEqual(await readdir(directory), ['kvasir.sock'])
  const [data] = await once(connect(path), 'data')
  assert.equal(String(data), 'hello')
})

test('without the group only root may connect', { skip }, async (t) => {
  const { path } = await newPath(t)

  const { groupFound } = await listenUnix(newServer(t), { path, group: 'no-such-group' })

  assert.equal(groupFound, false)
  assert.equal(statSync(path).mode & 0o777, 0o600)
})

test('a socket that somebody serves is not taken away', { skip }, async (t) => {
  const { path } = await newPath(t)
  await listenUnix(newServer(t), { path, group: 'daemon' })

  await assert.rejects(
    listenUnix(newServer(t), { path, group: 'daemon' }),
    (error) => error instanceof KvasirError && error.code === 'daemon-running',
  )

  await once(connect(path), 'data')
})

test('a socket left by a daemon that was killed is replaced', { skip }, async (t) => {
  const { path } = await newPath(t)
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const dead = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(dead.stdout, 'data')
  dead.kill('SIGKILL')
  await once(dead, 'exit')
  assert.ok(existsSync(path))

  await listenUnix(newServer(t), { path, group: 'daemon' })

  await once(connect(path), 'data')
})

test('a file at the path is not replaced', { skip }, async (t) => {
  const { path } = await newPath(t)
  await writeFile(path, 'precious')

  await assert.rejects(listenUnix(newServer(t), { path, group: 'daemon' }), KvasirError)

  assert.equal(statSync(path).size, 8)
})

test('closing the server removes the socket', { skip }, async (t) => {
  const { path } = await newPath(t)
  const server = newServer(t)
  await listenUnix(server, { path, group: 'daemon' })

  server.close()
  await once(server, 'close')

  assert.equal(existsSync(path), false)
})
