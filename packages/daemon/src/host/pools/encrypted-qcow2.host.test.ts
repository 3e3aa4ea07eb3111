/** Volumes that are encrypted, by the real tools: made, copied, resized, laid over each other, and closed to a wrong passphrase. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { VolumeKey } from '../../ports/pools.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { openTestPool } from './testing/test-pool.ts'
import { createVolumeAccess } from './volume-access.ts'

const MIB = 2 ** 20
const never = new AbortController().signal
const plain = 'what must not lie there in the clear'

describe('encrypted volumes', { skip: needs('root', 'qemu') }, () => {
  let jail: TestJail
  const [right, wrong] = [randomUUID(), randomUUID()]

  before(async () => {
    jail = await openTestJail()
    await jail.secrets.write(right, 'the right passphrase')
    await jail.secrets.write(wrong, 'a wrong passphrase')
  })

  after(() => jail[Symbol.asyncDispose]())

  async function newPool(t: TestContext) {
    const folder = await mkdtemp(join(tmpdir(), 'kvasir-luks-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const { pool, at } = openTestPool(t, folder, jail.jailed)
    const access = createVolumeAccess({ jailed: jail.jailed })
    const key = (id: string): VolumeKey => ({ id, format: 'qcow2', encryption: { secretId: right } })
    const source = (id: string, secretId = right): VolumeSource => ({
      ...pool.source(key(id)),
      encryption: { secretId },
    })
    const open = (chain: readonly VolumeSource[], how: 'read' | 'write') =>
      access.open(chain, { access: how, fileSizeBytes: 256 * MIB, signal: never })
    const put = async (id: string, text: string) => {
      const volume = await open([source(id)], 'write')
      await volume.write(0, Buffer.alloc(4096, text))
      await volume.flush()
      await volume.close()
    }
    const begins = async (chain: readonly VolumeSource[], text: string) => {
      const volume = await open(chain, 'read')
      try {
        return Buffer.from(await volume.read(0, 4096)).equals(Buffer.alloc(4096, text))
      } finally {
        await volume.close()
      }
    }
    return { pool, at, access, key, source, open, put, begins }
  }

  test('what is written comes back with its secret alone, and lies nowhere in the clear', async (t) => {
    const { pool, at, access, key, source, open, put, begins } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 16 * MIB })

    await put('v1', plain)

    assert.ok(await begins([source('v1')], plain))
    assert.equal(readFileSync(at('v1')).includes(plain), false)
    const check = { repair: false, fileSizeBytes: 0, signal: never }
    assert.equal((await access.check(source('v1'), check)).corruptions, 0)
    const attempts = [
      () => open([source('v1', wrong)], 'read'),
      () => access.check(source('v1', wrong), check),
    ]
    for (const attempt of attempts)
      await assert.rejects(attempt(), (error) => {
        assert.ok(error instanceof KvasirError && error.code === 'secret-refused', String(error))
        return true
      })
    await assert.rejects(open([source('v1', randomUUID())], 'read'), { code: 'secret-not-found' })
  })

  test('it grows and shrinks, is copied with its secret, and is a base of encrypted overlays', async (t) => {
    const { pool, at, key, source, put, begins } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 16 * MIB })
    await put('v1', plain)

    await pool.resize(key('v1'), 32 * MIB)
    assert.equal(await pool.capacityBytes(key('v1')), 32 * MIB)
    const told: number[] = []
    await pool.createCopy(key('copy'), [source('v1')], { onProgress: (at) => told.push(at), signal: never })
    await pool.createOverlay(key('top'), source('v1'), 32 * MIB)
    assert.ok(await begins([source('top'), source('v1')], plain))
    await put('top', 'what came later')

    assert.ok(await begins([source('copy')], plain))
    assert.equal(told.at(-1), 1)
    assert.ok(await begins([source('top'), source('v1')], 'what came later'))
    assert.ok(await begins([source('v1')], plain))
    for (const id of ['copy', 'top']) {
      const info = JSON.parse(
        execFileSync('qemu-img', ['info', '-U', '--output=json', at(id)], { encoding: 'utf8' }),
      )
      assert.equal(info['format-specific'].data.encrypt.format, 'luks')
      assert.equal(readFileSync(at(id)).includes('what came later'), false)
    }
  })

  test('layers are merged into it, with their secret, and what it holds then is encrypted', async (t) => {
    const { pool, at, key, source, put, begins, open } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 16 * MIB })
    await put('v1', plain)
    await pool.createOverlay(key('v2'), source('v1'), 16 * MIB)
    const middle = await open([source('v2'), source('v1')], 'write')
    await middle.write(8 * MIB, Buffer.alloc(4096, 'of the middle'))
    await middle.flush()
    await middle.close()
    await pool.createOverlay(key('v3'), source('v2'), 16 * MIB)
    const work = { onProgress: () => {}, signal: never }

    await pool.absorb(key('v3'), { backing: [source('v2'), source('v1')], absorbed: 1 }, work)
    assert.ok(await begins([source('v3'), source('v1')], plain))
    await pool.absorb(key('v3'), { backing: [source('v1')], absorbed: 1 }, work)

    assert.ok(await begins([source('v3')], plain))
    const top = await open([source('v3')], 'read')
    assert.deepEqual(Buffer.from(await top.read(8 * MIB, 4096)), Buffer.alloc(4096, 'of the middle'))
    await top.close()
    assert.equal(readFileSync(at('v3')).includes(plain), false)
    assert.equal(readFileSync(at('v3')).includes('of the middle'), false)
    await assert.rejects(
      pool.absorb(
        { ...key('v2'), encryption: { secretId: wrong } },
        { backing: [source('v1')], absorbed: 1 },
        work,
      ),
      { code: 'secret-refused' },
    )
  })

  test('a file is taken in its place only with what it is encrypted with, and a plain one only without', async (t) => {
    const { pool, key } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 16 * MIB })
    await pool.createEmpty({ id: 'v2', format: 'qcow2' }, { capacityBytes: 16 * MIB })
    const adopt = (file: string, secretId?: string) =>
      pool.adopt({ id: 'x', file, format: 'qcow2', ...(secretId ? { encryption: { secretId } } : {}) })

    await assert.rejects(adopt('v1.qcow2'), { code: 'image-refused', message: /encrypted/ })
    await assert.rejects(adopt('v2.qcow2', right), { code: 'image-refused', message: /not encrypted/ })
    assert.equal((await adopt('v1.qcow2', right)).capacityBytes, 16 * MIB)
  })

  test('a volume that is recorded as encrypted and lies there in the clear is not copied', async (t) => {
    const { pool, key, source } = await newPool(t)
    await pool.createEmpty({ id: 'v1', format: 'qcow2' }, { capacityBytes: 16 * MIB })

    await assert.rejects(
      pool.createCopy(key('copy'), [source('v1')], { onProgress: () => {}, signal: never }),
      { code: 'image-refused' },
    )
  })
})
