/** Raw volumes that are encrypted, by the real tools: made, copied both ways, resized, taken in place, laid under an overlay. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { VolumeKey } from '../../ports/pools.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { luksHeaderBytes, withEncryptedRaw } from './encrypted-raw.ts'
import { openTestPool } from './testing/test-pool.ts'
import { createVolumeAccess } from './volume-access.ts'

const mib = 2 ** 20
const never = new AbortController().signal
const plain = 'what must not lie there in the clear'

describe('encrypted raw volumes', { skip: needs('root', 'qemu') }, () => {
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
    const pool = withEncryptedRaw(openTestPool(t, folder, jail.jailed).pool, jail.jailed)
    const access = createVolumeAccess({ jailed: jail.jailed })
    const key = (id: string, format: VolumeKey['format'] = 'raw'): VolumeKey => ({
      id,
      format,
      encryption: { secretId: right },
    })
    const source = (volume: VolumeKey, secretId = right): VolumeSource => ({
      ...pool.source(volume),
      encryption: { secretId },
    })
    const open = (chain: readonly VolumeSource[], how: 'read' | 'write') =>
      access.open(chain, { access: how, fileSizeBytes: 256 * mib, signal: never })
    const put = async (volume: VolumeKey, text: string) => {
      const opened = await open([source(volume)], 'write')
      await opened.write(0, Buffer.alloc(4096, text))
      await opened.flush()
      await opened.close()
    }
    const begins = async (chain: readonly VolumeSource[], text: string) => {
      const opened = await open(chain, 'read')
      try {
        return Buffer.from(await opened.read(0, 4096)).equals(Buffer.alloc(4096, text))
      } finally {
        await opened.close()
      }
    }
    return { pool, folder, key, source, open, put, begins, at: (name: string) => join(folder, name) }
  }

  test('what is written comes back with its secret alone, and lies nowhere in the clear', async (t) => {
    const { pool, key, source, open, put, begins, at } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * mib })

    await put(key('v1'), plain)

    assert.ok(await begins([source(key('v1'))], plain))
    assert.equal(await pool.capacityBytes(key('v1')), 8 * mib)
    assert.equal(statSync(at('v1.raw')).size, 8 * mib + luksHeaderBytes)
    assert.equal(readFileSync(at('v1.raw')).includes(plain), false)
    await assert.rejects(open([source(key('v1'), wrong)], 'read'), { code: 'secret-refused' })
  })

  test('it grows and shrinks by what a guest sees, and is copied to and from qcow2 with its zeroes', async (t) => {
    const { pool, key, source, open, put, begins } = await newPool(t)
    await pool.createEmpty(key('v1', 'qcow2'), { capacityBytes: 8 * mib })
    await put(key('v1', 'qcow2'), plain)
    const work = { onProgress: () => {}, signal: never }

    await pool.createCopy(key('v2'), [source(key('v1', 'qcow2'))], work)
    await pool.createCopy(key('v3', 'qcow2'), [source(key('v2'))], work)
    await pool.resize(key('v2'), 16 * mib)

    for (const volume of [key('v2'), key('v3', 'qcow2')]) {
      assert.ok(await begins([source(volume)], plain))
      const opened = await open([source(volume)], 'read')
      assert.deepEqual(Buffer.from(await opened.read(4 * mib, 4096)), Buffer.alloc(4096))
      await opened.close()
    }
    assert.equal(await pool.capacityBytes(key('v2')), 16 * mib)
    assert.equal(await pool.capacityBytes(key('v3', 'qcow2')), 8 * mib)
    await pool.resize(key('v2'), 8 * mib)
    assert.equal(await pool.capacityBytes(key('v2')), 8 * mib)
    assert.ok(await begins([source(key('v2'))], plain))
  })

  test('an encrypted overlay lies on it with the same capacity, and takes it in', async (t) => {
    const { pool, key, source, put, begins, at } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * mib })
    await put(key('v1'), plain)
    const top = key('top', 'qcow2')

    await pool.createOverlay(top, source(key('v1')), 8 * mib)

    assert.equal(await pool.capacityBytes(top), 8 * mib)
    assert.ok(await begins([source(top), source(key('v1'))], plain))
    await pool.absorb(
      top,
      { backing: [source(key('v1'))], absorbed: 1 },
      { onProgress: () => {}, signal: never },
    )
    assert.ok(await begins([source(top)], plain))
    assert.equal(readFileSync(at('top.qcow2')).includes(plain), false)
  })

  test('a file is taken in its place for an encrypted one when it is one', async (t) => {
    const { pool, key, at } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * mib })
    await rename(at('v1.raw'), at('old.img'))
    execFileSync('truncate', ['-s', '8M', at('empty.img')])

    assert.equal((await pool.adopt({ ...key('x'), file: 'old.img' })).capacityBytes, 8 * mib)
    await assert.rejects(pool.adopt({ ...key('y'), file: 'empty.img' }), { code: 'image-refused' })
  })
})
