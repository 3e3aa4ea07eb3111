/** The bytes of volumes by QEMU's real tools: damage found and repaired, locks named. */
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync, truncateSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { after, before, describe, type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { openTestPool } from './testing/test-pool.ts'
import { createVolumeAccess } from './volume-access.ts'

const MIB = 2 ** 20
const cluster = 65536

/** Says that a cluster is used so often, whatever it is. */
function setRefcount(path: string, index: number, count: number): void {
  const file = openSync(path, 'r+')
  const word = Buffer.alloc(8)
  readSync(file, word, 0, 8, 48) // The table of the blocks of counts, then the first block (docs/interop/qcow2.txt).
  readSync(file, word, 0, 8, Number(word.readBigUInt64BE()))
  writeSync(file, Buffer.from([count >> 8, count & 0xff]), 0, 2, Number(word.readBigUInt64BE()) + 2 * index)
  closeSync(file)
}

/** A program that has a volume open to write, and its number. */
async function holdOpen(
  t: TestContext,
  path: string,
): Promise<ChildProcessByStdio<Writable, Readable, null>> {
  const holder = spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'pipe', 'ignore'] })
  t.after(async () => {
    if (holder.exitCode === null && holder.kill('SIGKILL')) await once(holder, 'exit')
  })
  await once(holder.stdout, 'data') // Its prompt: it is open.
  return holder
}

describe('the bytes of volumes', { skip: needs('root', 'qemu') }, () => {
  let jail: TestJail

  before(async () => {
    jail = await openTestJail()
  })

  after(() => jail[Symbol.asyncDispose]())

  async function newPool(t: TestContext) {
    const folder = await mkdtemp(join(tmpdir(), 'kvasir-access-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const access = createVolumeAccess({ jailed: jail.jailed })
    const check = (path: string, repair = false) =>
      access.check(
        { path, format: 'qcow2' },
        { repair, fileSizeBytes: 256 * MIB, signal: new AbortController().signal },
      )
    return { ...openTestPool(t, folder, jail.jailed), access, check }
  }

  test('a whole volume is whole, and so is an overlay, whose base is not opened', async (t) => {
    const { pool, key, at, check } = await newPool(t)
    await pool.createEmpty(key('base'), { capacityBytes: 8 * MIB })
    await pool.createOverlay(key('top'), pool.source(key('base')), 8 * MIB)
    await rm(at('base'))

    const found = await check(at('top'))

    assert.deepEqual([found.corruptions, found.leaks, found.errors], [0, 0, 0])
    assert.equal(found.clusters, (8 * MIB) / cluster)
  })

  test('damage is counted, then repaired, and then there is none', async (t) => {
    const { pool, key, at, check } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', at('v1')])
    setRefcount(at('v1'), 8, 0)
    setRefcount(at('v1'), 9, 2)

    const before = await check(at('v1'))
    const repaired = await check(at('v1'), true)
    const after = await check(at('v1'))

    assert.ok(before.corruptions > 0 && before.leaks > 0, JSON.stringify(before))
    assert.equal(before.corruptionsFixed + before.leaksFixed, 0)
    assert.ok(repaired.corruptionsFixed > 0, JSON.stringify(repaired))
    assert.deepEqual([after.corruptions, after.leaks], [0, 0])
    const read = execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'read -P 7 0 1M', at('v1')], {
      encoding: 'utf8',
    })
    assert.doesNotMatch(read, /verification failed/)
  })

  test('who has the volume open is named, with its number', async (t) => {
    const { pool, key, at, check } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
    const holder = await holdOpen(t, at('v1'))

    for (const repair of [false, true])
      await assert.rejects(check(at('v1'), repair), (error) => {
        assert.ok(error instanceof KvasirError && error.code === 'in-use', String(error))
        assert.match(error.message, new RegExp(`locked by qemu-io \\(PID ${holder.pid}\\), so it is not`))
        return true
      })
  })

  test('of a volume that was cut short the table is named that lies behind its end, whatever it is encrypted with', async (t) => {
    const { pool, key, at, access } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
    const { signal } = new AbortController()
    const source = { path: at('v1'), format: 'qcow2' as const }
    const look = () => access.tableBehindEnd({ ...source, encryption: { secretId: 'none' } }, { signal })
    const far = [0, 0, 0, 1, 0, 0, 0, 0]
    const harms = [
      { table: 'refcounts', offset: 48, bytes: far },
      { table: 'clusters', offset: 40, bytes: far },
      { table: 'snapshots', offset: 60, bytes: [0, 0, 0, 1, ...far] },
    ]
    const holder = await holdOpen(t, at('v1')) // Who has it open keeps nobody from looking.
    assert.equal(await look(), undefined)
    holder.kill('SIGKILL')
    await once(holder, 'exit')

    for (const { table, offset, bytes } of harms) {
      const file = openSync(at('v1'), 'r+')
      const before = Buffer.alloc(bytes.length)
      readSync(file, before, 0, before.length, offset)
      writeSync(file, Buffer.from(bytes), 0, bytes.length, offset)
      assert.equal(await look(), table)
      writeSync(file, before, 0, before.length, offset)
      closeSync(file)
    }
    truncateSync(at('v1'), 10)
    assert.equal(await look(), undefined) // No header at all: that is what a check says.
  })

  test('what has no tables to look through is damaged, and no file that a header names is opened', async (t) => {
    const { at, check } = await newPool(t)
    execFileSync('dd', ['if=/dev/urandom', `of=${at('noise')}`, 'bs=64k', 'count=4', 'status=none'])
    const shadow = ['create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/shadow', at('evil'), '8M']
    execFileSync('qemu-img', shadow)

    await assert.rejects(
      check(at('noise')),
      (error) => error instanceof KvasirError && error.code === 'volume-damaged',
    )
    assert.equal((await check(at('evil'))).corruptions, 0)
  })

  test('a compressed copy holds the same in less', async (t) => {
    const { pool, key, at, check } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 4M', at('v1')])

    await pool.createCopy(key('v2'), [pool.source(key('v1'))], {
      compress: true,
      onProgress: () => {},
      signal: new AbortController().signal,
    })

    assert.equal((await check(at('v2'))).compressedClusters, (4 * MIB) / cluster)
    const info = execFileSync('qemu-img', ['info', '--output=json', at('v2')], { encoding: 'utf8' })
    assert.equal(JSON.parse(info)['format-specific'].data['compression-type'], 'zstd')
    execFileSync('qemu-img', ['compare', at('v1'), at('v2')])
  })

  const readWrite = (access: 'read' | 'write') => ({
    access,
    fileSizeBytes: 256 * MIB,
    signal: new AbortController().signal,
  })

  test('a chain is read as a guest would read it, and its holes are known without reading them', async (t) => {
    const { pool, key, at, access } = await newPool(t)
    await pool.createEmpty(key('base'), { capacityBytes: 16 * MIB })
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 1M 1M', at('base')])
    await pool.createOverlay(key('top'), pool.source(key('base')), 16 * MIB)
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 2 3M 1M', at('top')])

    const open = await access.open([pool.source(key('top')), pool.source(key('base'))], readWrite('read'))
    t.after(() => open.close())

    assert.equal(open.sizeBytes, 16 * MIB)
    const parts: [number, boolean][] = []
    for (let offset = 0; offset < open.sizeBytes; ) {
      for (const { lengthBytes, isZero } of await open.extents(offset, open.sizeBytes - offset)) {
        parts.push([lengthBytes / MIB, isZero])
        offset += lengthBytes
      }
    }
    assert.deepEqual(parts, [
      [1, true],
      [1, false],
      [1, true],
      [1, false],
      [12, true],
    ])
    const contents = await Promise.all([1, 2, 3, 15].map((place) => open.read(place * MIB, MIB)))
    assert.deepEqual(
      contents.map((bytes) => [bytes[0], bytes[MIB - 1]]),
      [
        [1, 1],
        [0, 0],
        [2, 2],
        [0, 0],
      ],
    )
    await assert.rejects(open.write(0, new Uint8Array(512)), KvasirError)
    await open.close()
    assert.deepEqual(await jail.cages.cages.groups.list(), [], 'No process has it open any more.')
  })

  test('what is written is there, and zeros hide a base and give space back', async (t) => {
    const { pool, key, at, access } = await newPool(t)
    await pool.createEmpty(key('base'), { capacityBytes: 16 * MIB })
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 16M', at('base')])
    await pool.createOverlay(key('top'), pool.source(key('base')), 16 * MIB)
    const open = await access.open([pool.source(key('top'))], readWrite('write'))
    t.after(() => open.close())

    await Promise.all(
      [0, 1, 2, 3].map((place) => open.write(place * MIB, new Uint8Array(MIB).fill(place + 5))),
    )
    await open.flush()
    const takenBytes = await pool.allocatedBytes(key('top'))
    await open.zero(MIB, 15 * MIB)
    await open.close()

    const io = ['-f', 'qcow2', '-c', 'read -P 5 0 1M', '-c', 'read -P 0 1M 15M', at('top')]
    assert.doesNotMatch(execFileSync('qemu-io', io, { encoding: 'utf8' }), /verification failed/)
    assert.ok(Number(takenBytes) - Number(await pool.allocatedBytes(key('top'))) >= 3 * MIB)
  })

  test('a volume that another program has open is not opened, and the program is named', async (t) => {
    const { pool, key, at, access } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
    const holder = await holdOpen(t, at('v1'))

    for (const how of ['read', 'write'] as const)
      await assert.rejects(access.open([pool.source(key('v1'))], readWrite(how)), (error) => {
        assert.ok(error instanceof KvasirError && error.code === 'in-use', String(error))
        assert.match(error.message, new RegExp(`qemu-io \\(PID ${holder.pid}\\)`))
        return true
      })
    const look = { access: 'look', fileSizeBytes: 0, signal: AbortSignal.timeout(30_000) } as const
    const raw = await access.open([{ path: at('v1'), format: 'raw' }], look)
    assert.equal(Buffer.from(await raw.read(0, 4)).toString('latin1'), 'QFI\xfb')
    await raw.close()
    assert.deepEqual(await jail.cages.cages.groups.list(), [])
  })

  test('a header that names a file of the host has no say in what is opened', async (t) => {
    const { pool, key, at, access } = await newPool(t)
    const evil = ['create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/shadow', at('evil'), '8M']
    execFileSync('qemu-img', evil)

    const open = await access.open([pool.source(key('evil'))], readWrite('read'))
    t.after(() => open.close())

    assert.ok((await open.read(0, 4096)).every((byte) => byte === 0))
  })

  test('no more than a few volumes are open at one time', async (t) => {
    const { pool, key, access } = await newPool(t)
    for (const id of ['v1', 'v2', 'v3', 'v4', 'v5']) await pool.createEmpty(key(id), { capacityBytes: MIB })
    const begin = (id: string) => access.open([pool.source(key(id))], readWrite('read'))
    const underWay = ['v1', 'v2', 'v3', 'v4'].map(begin) // The last waits for a user of the jail.

    await assert.rejects(
      begin('v5'),
      (error) => error instanceof KvasirError && error.code === 'too-many-requests',
    )

    await Promise.all(underWay.map(async (open) => (await open).close()))
    await (await begin('v5')).close()
  })
})
