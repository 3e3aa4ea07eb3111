/** Full copies of volumes, which run in the jail: an emulator that was taken over may have written anything into its volume. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { type ErrorCode, KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { maxChainLength } from '../../model/storage/chain.ts'
import { openTestJail, TEST_USERS, type TestJail } from '../jail/testing/test-jail.ts'
import { copyChain } from './qemu-img.ts'
import { openTestPool } from './testing/test-pool.ts'

const MIB = 2 ** 20

const qcow2 = (path: string) => ({ path, format: 'qcow2' }) as const

function qemuIo(path: string, ...commands: string[]): string {
  const args = commands.flatMap((command) => ['-c', command])
  return execFileSync('qemu-io', ['-f', 'qcow2', ...args, path], { encoding: 'utf8' })
}

/** What a taken-over emulator could make of its volume. */
function writeHostile(path: string, base: string, format: string) {
  const args = ['create', '-q', '-u', '-f', 'qcow2', '-F', format, '-b', base, path, '8M']
  execFileSync('qemu-img', args)
  return qcow2(path)
}

function refusedWith(code: ErrorCode, pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

/** What the kernel says of every process of a jail's user. */
function jailedProcesses() {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
      if (uid < TEST_USERS.first || uid >= TEST_USERS.first + TEST_USERS.count) return []
      const hasOurNetwork = readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')
      const [root, proc] = ['', '/proc'].map((at) => readdirSync(`/proc/${pid}/root${at}`))
      return [{ status, hasOurNetwork, root, proc }]
    } catch {
      return [] // It has ended meanwhile.
    }
  })
}

const noProgress = () => ({ onProgress: () => {}, signal: new AbortController().signal })

describe('copies of volumes', { skip: needs('root', 'qemu') }, () => {
  let jail: TestJail

  before(async () => {
    jail = await openTestJail()
  })

  after(() => jail[Symbol.asyncDispose]())

  async function newPool(t: TestContext) {
    const folder = await mkdtemp(join(tmpdir(), 'kvasir-pool-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    return openTestPool(t, folder, jail.jailed)
  }

  test('a copy is flat, whole, and tells its progress', async (t) => {
    const { pool, key, at } = await newPool(t)
    await pool.createEmpty(key('base'), { capacityBytes: 64 * MIB })
    qemuIo(at('base'), 'write -P 0x11 0 8M')
    await pool.createOverlay(key('top'), qcow2(at('base')), 0)
    qemuIo(at('top'), 'write -P 0x22 4M 1M')
    const told: number[] = []

    await pool.createCopy(key('copy'), [qcow2(at('top')), qcow2(at('base'))], {
      ...noProgress(),
      onProgress: (fraction) => told.push(fraction),
    })

    const path = at('copy')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(statSync(path).uid + statSync(path).gid, 0)
    await rm(at('top')) // The copy does not need what it was made from.
    await rm(at('base'))
    const reads = qemuIo(
      path,
      'read -P 0x11 0 4M',
      'read -P 0x22 4M 1M',
      'read -P 0x11 5M 3M',
      'read -P 0 8M 56M',
    )
    assert.doesNotMatch(reads, /verification failed/)
    assert.equal(told.at(-1), 1)
    assert.ok(told.every((fraction) => fraction >= 0 && fraction <= 1))
  })

  test('a cancelled copy leaves no file and no process', async (t) => {
    const { pool, key, at, ids } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 256 * MIB })
    qemuIo(at('v1'), 'write -P 0x11 0 200M')
    const abort = new AbortController()
    const why = new KvasirError('cancelled', 'The job was cancelled.')

    const copy = pool.createCopy(key('copy'), [qcow2(at('v1'))], {
      onProgress: () => abort.abort(why),
      signal: abort.signal,
    })

    await assert.rejects(copy, why)
    assert.deepEqual(ids(), ['v1'])
    assert.deepEqual(jailedProcesses(), [])
    assert.deepEqual(await jail.cages.cages.groups.list(), [])
  })

  test('a volume whose header names a file of the host is neither copied nor opened', async (t) => {
    const { pool, key, at } = await newPool(t)
    await pool.createEmpty(key('own'), { capacityBytes: 8 * MIB })
    await pool.createEmpty(key('other'), { capacityBytes: 8 * MIB })
    const hostile = (id: string, base: string, format: string) => writeHostile(at(id), base, format)
    const shadow = hostile('a', '/etc/shadow', 'raw')
    const sideways = hostile('b', at('other'), 'qcow2')
    const upwards = hostile('c', `${at('own')}/../../../etc/shadow`, 'raw')
    const url = hostile('d', 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}', 'raw')

    for (const source of [shadow, upwards, url, sideways])
      await assert.rejects(
        pool.createCopy(key('copy'), [source], noProgress()),
        refusedWith('image-refused', /another base/),
      )

    assert.equal(existsSync(at('copy')), false)
  })

  test('a volume that keeps its data in another file, or is none, is refused', async (t) => {
    const { pool, key, at, folder } = await newPool(t)
    const data = join(folder, 'data')
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, at('a'), '8M'])
    writeFileSync(at('b'), 'no image at all')
    symlinkSync('/etc/shadow', at('c'))
    execFileSync('mkfifo', [at('d')])

    const codes: unknown[] = []
    for (const id of ['a', 'b', 'c', 'd', 'e'])
      await pool
        .createCopy(key('copy'), [qcow2(at(id))], noProgress())
        .catch((error: unknown) => codes.push(error instanceof KvasirError && error.code))

    assert.deepEqual(codes, [
      'image-refused',
      'image-refused',
      'file-not-found',
      'image-refused',
      'file-not-found',
    ])
  })

  test('a copy runs as nobody: no capabilities, no way to gain any, no network, no file of the host', async (t) => {
    const { pool, key, at } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 128 * MIB })
    qemuIo(at('v1'), 'write -P 0x11 0 100M')
    const seen: ReturnType<typeof jailedProcesses> = []

    await pool.createCopy(key('copy'), [qcow2(at('v1'))], {
      ...noProgress(),
      onProgress: () => seen.push(...jailedProcesses()),
    })

    assert.ok(seen.length > 0)
    for (const { status, hasOurNetwork, root, proc } of seen) {
      assert.equal(hasOurNetwork, false)
      assert.ok(root?.includes('usr') && !root.includes('etc'), String(root))
      assert.deepEqual(proc?.toSorted(), ['self', 'sys'], 'Only places for what servers of files need.')
      assert.match(status, /^CapEff:\t0{16}$/m)
      assert.match(status, /^CapBnd:\t0{16}$/m)
      assert.match(status, /^NoNewPrivs:\t1$/m)
    }
  })

  test('the longest chain is copied, each of its files given by name', async (t) => {
    const { pool, key, at } = await newPool(t)
    await pool.createEmpty(key('v0'), { capacityBytes: 8 * MIB })
    const chain = [qcow2(at('v0'))]
    for (let index = 1; index < maxChainLength; index++) {
      await pool.createOverlay(key(`v${index}`), chain[0] ?? assert.fail(), 0)
      chain.unshift(qcow2(at(`v${index}`)))
    }
    qemuIo(at('v0'), 'write -P 0x11 0 1M')

    await pool.createCopy(key('copy'), chain, noProgress())

    assert.doesNotMatch(qemuIo(at('copy'), 'read -P 0x11 0 1M'), /verification failed/)
  })

  test('a header that names a file of the host after it was checked makes a copy open nothing more', async (t) => {
    const { pool, key, at, folder } = await newPool(t)
    const secret = join(folder, 'secret')
    writeFileSync(secret, Buffer.alloc(MIB, 'secret '), { mode: 0o644 })
    await pool.createEmpty(key('copy'), { capacityBytes: 8 * MIB })
    const path = at('copy')

    for (const [index, base] of [secret, '/etc/shadow', '/in/1', '/usr/bin/env'].entries()) {
      const evil = writeHostile(at(`evil${index}`), base, 'raw')
      await copyChain(path, [evil], { ...noProgress(), jailed: jail.jailed, fileSizeBytes: 16 * MIB })

      assert.doesNotMatch(qemuIo(path, 'read -P 0 0 8M'), /verification failed/)
    }
  })

  test('a header that was changed to name another file is a refused copy', async (t) => {
    const { pool, key, at, ids } = await newPool(t)
    await pool.createEmpty(key('base'), { capacityBytes: 8 * MIB })
    const base = qcow2(at('base'))
    await pool.createOverlay(key('v1'), base, 0)
    execFileSync('qemu-img', ['rebase', '-u', '-F', 'raw', '-b', '/etc/shadow', at('v1')])

    const copy = pool.createCopy(key('copy'), [qcow2(at('v1')), base], noProgress())

    await assert.rejects(copy, refusedWith('image-refused', /another base/))
    assert.deepEqual(ids(), ['base', 'v1'])
  })

  test('tables that are damaged fail the copy and nothing else', async (t) => {
    const { pool, key, at, ids } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 64 * MIB })
    qemuIo(at('v1'), 'write -P 0x11 0 8M')
    const image = readFileSync(at('v1'))
    image.fill(0xa5, 3 * 65_536, 5 * 65_536) // The first-level table, and what follows it.
    writeFileSync(at('v1'), image)

    const copy = pool.createCopy(key('copy'), [qcow2(at('v1'))], noProgress())

    await assert.rejects(copy, refusedWith('host-failed'))
    assert.deepEqual(ids(), ['v1'])
  })

  test('copies run at the same time, more than there are users for them', async (t) => {
    const { pool, key, at } = await newPool(t)
    await pool.createEmpty(key('v1'), { capacityBytes: 8 * MIB })
    qemuIo(at('v1'), 'write -P 0x11 0 4M')
    const names = ['a', 'b', 'c', 'd', 'e']

    await Promise.all(names.map((id) => pool.createCopy(key(id), [qcow2(at('v1'))], noProgress())))

    for (const id of names) assert.doesNotMatch(qemuIo(at(id), 'read -P 0x11 0 4M'), /verification failed/)
  })
})
