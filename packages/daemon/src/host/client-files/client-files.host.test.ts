/** Files that another process has open: taken by the number of their descriptor, copied to and from volumes of both kinds. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { localConnection } from '../../api/local-connection.ts'
import type { ClaimedFile, VolumeEnd } from '../../ports/client-files.ts'
import { createClientFiles } from './client-files.ts'

const skip = needs('root', 'qemu')
const mib = 2 ** 20
const files = createClientFiles()

async function newFolder(t: TestContext): Promise<(name: string) => string> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-files-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return (name) => join(folder, name)
}

/** Our end of a connection of this process to itself: it is client and daemon. */
async function newConnection(t: TestContext, path: string): Promise<number> {
  const server = createServer().listen(path)
  await once(server, 'listening')
  const client = connect(path)
  const [accepted] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    client.destroy()
    accepted.destroy()
    server.close()
  })
  const connection = localConnection(accepted)
  assert.ok(connection !== undefined)
  return connection
}

async function claim(t: TestContext, path: string, access: 'read' | 'write'): Promise<ClaimedFile> {
  const file = await open(path, access === 'read' ? 'r' : 'w+')
  t.after(() => file.close())
  const { dev, ino } = await file.stat({ bigint: true })
  return { descriptor: file.fd, device: String(dev), inode: String(ino), access }
}

/** A volume that `qemu-nbd` serves. */
async function serve(t: TestContext, path: string, format: string): Promise<VolumeEnd> {
  const socket = `${path}.sock`
  const server = spawn('qemu-nbd', ['-k', socket, '--shared=2', '--persistent', '-f', format, path], {
    stdio: 'inherit',
  })
  t.after(async () => {
    if (server.exitCode === null && server.kill('SIGTERM')) await once(server, 'exit')
  })
  while (!existsSync(socket)) {
    assert.equal(server.exitCode, null)
    await sleep(20)
  }
  return { kind: 'nbd', path: socket }
}

test('a file with holes goes to a volume and back, through a server and as the file that it is', {
  skip,
}, async (t) => {
  const at = await newFolder(t)
  const noise = randomBytes(5 * mib + 123)
  const whole = Buffer.concat([Buffer.alloc(2 * mib), noise, Buffer.alloc(mib - 123)])
  writeFileSync(at('source'), noise)
  execFileSync('truncate', ['-s', String(8 * mib), at('holes')])
  const holes = await open(at('holes'), 'r+')
  await holes.write(noise, 0, noise.length, 2 * mib)
  await holes.close()
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', at('packed'), String(8 * mib)])
  writeFileSync(at('plain'), '')
  truncateSync(at('plain'), 8 * mib)
  const connection = await newConnection(t, at('sock'))

  for (const volume of [
    await serve(t, at('packed'), 'qcow2'),
    { kind: 'file', path: at('plain') } as const,
  ]) {
    const from = await files.take(connection, await claim(t, at('holes'), 'read'))
    t.after(() => from.close())
    assert.equal(from.sizeBytes, 8 * mib)
    assert.deepEqual(await from.next(0, 8 * mib), { isZero: true, lengthBytes: 2 * mib })
    const data = await from.next(2 * mib, 8 * mib)
    assert.equal(data.isZero, false)
    assert.ok(data.lengthBytes >= noise.length && data.lengthBytes <= 6 * mib, `${data.lengthBytes} bytes`)
    await from.put(volume, { offset: 2 * mib, lengthBytes: noise.length })
    from.close()

    const into = await files.take(connection, await claim(t, at(`back-${volume.kind}`), 'write'))
    t.after(() => into.close())
    await into.get(volume, [{ offset: 0, lengthBytes: 8 * mib }])
    await into.resize(8 * mib)
    into.close()
    assert.ok(readFileSync(at(`back-${volume.kind}`)).equals(whole), volume.kind)
  }
})

test('nothing is taken but the regular file that was claimed, with the access that its process has', {
  skip,
}, async (t) => {
  const at = await newFolder(t)
  writeFileSync(at('mine'), randomBytes(mib))
  writeFileSync(at('other'), randomBytes(mib))
  writeFileSync(at('volume'), Buffer.alloc(mib))
  const connection = await newConnection(t, at('sock'))
  const mine = await claim(t, at('mine'), 'read')
  const refused = (file: Partial<ClaimedFile>, by: number | undefined = connection) =>
    assert.rejects(files.take(by, { ...mine, ...file }), { code: 'unsupported' })

  await refused({ inode: String(statSync(at('other')).ino) })
  await refused({ descriptor: 1_000_000 })
  await refused({ descriptor: connection })
  await assert.rejects(files.take(undefined, mine), { code: 'unsupported' })

  // A descriptor that cannot write does not learn it by being taken.
  const held = await files.take(connection, { ...mine, access: 'write' })
  t.after(() => held.close())
  const before = readFileSync(at('mine'))
  await assert.rejects(held.get({ kind: 'file', path: at('volume') }, [{ offset: 0, lengthBytes: mib }]), {
    code: 'host-failed',
  })
  await assert.rejects(held.resize(0), KvasirError)
  assert.ok(readFileSync(at('mine')).equals(before))
})

test('a connection over a network names no process', { skip }, async (t) => {
  const at = await newFolder(t)
  writeFileSync(at('mine'), 'x')
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const client = connect(address.port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    client.destroy()
    accepted.destroy()
  })

  assert.equal(localConnection(accepted), undefined)
})

test('a file system that is full is told as such, and what does not answer ends with its process', {
  skip,
}, async (t) => {
  const small = await mkdtemp(join(tmpdir(), 'kvasir-files-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'kvasir-test', small])
  t.after(async () => {
    execFileSync('umount', ['--lazy', small]) // Who was killed may have it for an instant yet.
    await rm(small, { recursive: true })
  })
  const at = await newFolder(t)
  writeFileSync(at('volume'), randomBytes(4 * mib))
  const connection = await newConnection(t, at('sock'))
  const target = await open(join(small, 'copy'), 'w+')
  const { dev, ino } = await target.stat({ bigint: true })
  const claimed = { descriptor: target.fd, device: String(dev), inode: String(ino), access: 'write' } as const
  const held = await files.take(connection, claimed)
  const full = held.get({ kind: 'file', path: at('volume') }, [{ offset: 0, lengthBytes: 4 * mib }])
  await assert.rejects(full, { code: 'not-enough-space' }).finally(() => held.close())
  await target.close()

  await assert.rejects(held.resize(1), { code: 'host-failed', message: /has ended/ })
})
