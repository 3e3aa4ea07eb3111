/** Pools on nfs-ganesha without a mount: the port's promises, and a server that stands still, is of others, or exports nothing of the name. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  linkSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { after, before, type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { type NfsServer, openNfsServer } from '../../../../../tools/servers/nfs-server.ts'
import { testPools } from '../../ports/pools.suite.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { createNfsDirectPool } from './nfs-direct-pool.ts'
import { createVolumeAccess } from './volume-access.ts'

const skip = needs('root', 'qemu', 'ganesha')
const mib = 2 ** 20
const shared: { jail?: TestJail; server?: NfsServer } = {}

before(async () => {
  if (skip !== false) return
  shared.jail = await openTestJail()
  shared.server = await openNfsServer()
})

after(async () => {
  await shared.server?.[Symbol.asyncDispose]()
  await shared.jail?.[Symbol.asyncDispose]()
})

/** A folder below what is exported, which a client may mount by itself. */
function newExport(t: TestContext): string {
  const { server } = shared
  assert.ok(server)
  const folder = join(server.folder, randomUUID())
  mkdirSync(folder, { mode: 0o755 })
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function openPool(path: string, options: { readonly deadlineMs?: number } = {}) {
  const { jail } = shared
  assert.ok(jail)
  const source = { type: 'nfs', server: '127.0.0.1', export: path, direct: true } as const
  return createNfsDirectPool({
    id: randomUUID(),
    source,
    jailed: jail.jailed,
    onUnreachable: () => {},
    deadlineMs: 60_000,
    ...options,
  })
}

function hasCode(code: KvasirError['code'], words: RegExp) {
  return (error: unknown) => error instanceof KvasirError && error.code === code && words.test(error.message)
}

testPools({
  name: 'an export without a mount',
  skip,
  async open(t) {
    const path = newExport(t)
    const addForeign = async () => {
      writeFileSync(join(path, 'others.img'), Buffer.alloc(4096))
      return 'others.img'
    }
    return { pool: openPool(path), rival: openPool(path), addForeign }
  },
})

test('a volume that was cut short is known by its header, which QEMU reads from the server', {
  skip,
}, async (t) => {
  const path = newExport(t)
  const [whole, cut] = [randomUUID(), randomUUID()]
  for (const id of [whole, cut])
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(path, `${id}.qcow2`), '16M'])
  truncateSync(join(path, `${cut}.qcow2`), 3 * 65_536)
  const pool = openPool(path)
  await pool.claim({ force: false })
  assert.ok(shared.jail)
  const access = createVolumeAccess({ jailed: shared.jail.jailed })
  const look = (id: string) =>
    access.tableBehindEnd(pool.source({ id, format: 'qcow2' }), { signal: AbortSignal.timeout(60_000) })

  assert.deepEqual([await look(whole), await look(cut)], [undefined, 'clusters'])
})

test('a volume is a file that only root may open, and its server is all that QEMU may reach', {
  skip,
}, async (t) => {
  const path = newExport(t)
  const pool = openPool(path)
  await pool.claim({ force: false })
  const key = { id: randomUUID(), format: 'raw' } as const

  await pool.createEmpty(key, { capacityBytes: mib })

  const { mode, size, uid } = statSync(join(path, `${key.id}.raw`))
  assert.deepEqual([mode & 0o777, size, uid], [0o600, mib, 0])
  const source = pool.source(key)
  assert.ok(source.kind === 'protocol' && source.reach.length === 3)
  assert.ok(source.reach.every(({ address, lastPort }) => address === '127.0.0.1' && lastPort === undefined))
})

test('a file that others put there is imported in its place, and what is none is not', {
  skip,
}, async (t) => {
  const path = newExport(t)
  const pool = openPool(path)
  await pool.claim({ force: false })
  writeFileSync(join(path, 'sound.img'), Buffer.alloc(4096))
  linkSync(join(path, 'sound.img'), join(path, 'twin.img'))
  writeFileSync(join(path, 'odd.img'), 'odd')
  mkdirSync(join(path, 'folder'))
  const adopt = async (file: string) =>
    (await pool.adopt({ id: randomUUID(), format: 'raw', file })).capacityBytes

  assert.equal(await adopt('sound.img'), 4096)
  await assert.rejects(adopt('odd.img'), hasCode('image-refused', /sectors/))
  await assert.rejects(adopt('folder'), hasCode('image-refused', /no regular file/))
  await assert.rejects(adopt(`../${basename(path)}/sound.img`), hasCode('image-refused', /another folder/))
  await assert.rejects(adopt('absent.img'), hasCode('file-not-found', /no such file/))
  const names = (await pool.list()).map((entry) => [entry.file, entry.names] as const)
  assert.deepEqual([new Map(names).get('sound.img'), new Map(names).get('odd.img')], [2, 1])
})

test('the beginnings of what others put there are seen, and what is no file is left out', {
  skip,
}, async (t) => {
  const path = newExport(t)
  const pool = openPool(path)
  await pool.claim({ force: false })
  writeFileSync(
    join(path, 'packed.img'),
    Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(8188)]),
  )
  writeFileSync(join(path, 'short.img'), 'abc')
  mkdirSync(join(path, 'folder'))
  symlinkSync('/etc/passwd', join(path, 'link.img'))

  const seen = await pool.peekMany?.(['packed.img', 'absent.img', 'folder', 'link.img', 'short.img'], 512)

  assert.deepEqual(
    [...(seen ?? [])].map(([file, bytes]) => [file, bytes.length]),
    [
      ['packed.img', 512],
      ['short.img', 3],
    ],
  )
  assert.equal(Buffer.from(seen?.get('packed.img') ?? []).toString('latin1', 0, 4), 'QFI\xfb')
})

test('a size that the file system of the server does not give a file is refused in words', {
  skip,
}, async (t) => {
  const path = newExport(t)
  const pool = openPool(path)
  await pool.claim({ force: false })
  const key = { id: randomUUID(), format: 'raw' } as const

  const made = pool.createEmpty(key, { capacityBytes: 2 ** 52 })

  await assert.rejects(made, hasCode('unsupported', /no file be so large/))
  assert.deepEqual(readdirSync(path), ['.kvasir-pool'])
})

test('an export that there is not is refused', { skip }, async () => {
  await assert.rejects(
    openPool('/no such; export').claim({ force: false }),
    hasCode('pool-refused', /export/),
  )
})

test('a server that stands still makes its pool unreachable in time, and nobody waits for it twice', {
  skip,
}, async (t) => {
  const { server } = shared
  assert.ok(server)
  const path = newExport(t)
  const pool = openPool(path, { deadlineMs: 6_000 })
  await pool.claim({ force: false })

  server.stop()
  try {
    await assert.rejects(pool.inspect(), hasCode('pool-unreachable', /does not answer in time/))
    const startedAt = performance.now()
    await assert.rejects(pool.list(), hasCode('pool-unreachable', /does not answer in time/))
    assert.ok(performance.now() - startedAt < 5_000)
  } finally {
    server.goOn()
  }
  const patient = AbortSignal.timeout(120_000)
  for (;;) {
    const answer = await pool.inspect().catch((error: unknown) => error)
    if (!(answer instanceof Error)) break
    patient.throwIfAborted()
  }
  assert.deepEqual(readdirSync(path), ['.kvasir-pool'])
})
