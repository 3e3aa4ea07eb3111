import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inheritableDescriptors } from './descriptors.ts'
import { listenForChild } from './listen.ts'

test('a child answers on the listener after we have closed our copy, and the path stays', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-listen-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const path = join(directory, 'x.sock')
  const listener = await listenForChild(path)
  const script = "require('net').createServer((s) => s.end('hello')).listen({ fd: 3 })"
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'ignore', 'inherit', listener.fd],
  })
  t.after(() => child.kill('SIGKILL'))

  await listener.release()
  const answer = await new Promise<string>((resolve, reject) => {
    connect(path)
      .once('error', reject)
      .once('data', (chunk) => resolve(chunk.toString()))
  })

  assert.equal(answer, 'hello')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(directory), ['x.sock'])
})

test('removing a listener leaves nothing, and releasing it twice is fine', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-listen-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const listener = await listenForChild(join(directory, 'x.sock'))

  await listener.release()
  await listener.remove()

  assert.deepEqual(await readdir(directory), [])
})

test('a descriptor that a parent left open is found, and ours are not among them', async () => {
  const program = `
    const { inheritableDescriptors } = await import(${JSON.stringify(new URL('./descriptors.ts', import.meta.url).href)})
    const { open } = await import('node:fs/promises')
    await open('/dev/null')
    console.log(JSON.stringify(inheritableDescriptors()))`
  const child = spawn(
    'sh',
    ['-c', 'exec "$0" --input-type=module -e "$1" 20</dev/null 9</dev/null', process.execPath, program],
    {
      stdio: ['ignore', 'pipe', 'inherit', ...inheritableDescriptors().map(() => 'ignore' as const)],
    },
  )

  const found = JSON.parse(String(await new Promise((resolve) => child.stdout?.once('data', resolve))))

  assert.ok(!found.includes(9), 'Node itself closes the first ones')
  assert.ok(found.every((fd: number) => fd > 15))
})
