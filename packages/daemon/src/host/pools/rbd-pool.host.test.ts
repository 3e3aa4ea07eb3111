/** Pools of RBD on a real Ceph. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import { type CephCluster, startCeph } from '../../../../../tools/servers/ceph-cluster.ts'
import { testPools } from '../../ports/pools.suite.ts'
import type { PoolBackend, VolumeKey } from '../../ports/pools.ts'
import { openSecretFiles } from '../files/secret-files.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { createDirPool } from './dir-pool.ts'
import { createRbdPool, type RbdPoolOptions } from './rbd-pool.ts'

const mib = 2 ** 20
const never = new AbortController().signal
/** For a machine on which much else runs. */
const patient = { lookMs: 120_000 }
const skip = needs('root', 'qemu', 'ceph')

describe('rbd', { skip }, () => {
  let ceph: CephCluster
  let jail: TestJail

  before(async () => {
    ;[ceph, jail] = await Promise.all([startCeph(), openTestJail()])
    await jail.secrets.write('right', `${ceph.key}\n`)
    await jail.secrets.write('wrong', ceph.wrongKey)
    await jail.secrets.write('no-key', 'hunter2')
  })

  after(async () => {
    await ceph[Symbol.asyncDispose]()
    await jail[Symbol.asyncDispose]()
  })

  /** A namespace of the Ceph pool for one test, which is as a pool of its own. */
  async function newNamespace(): Promise<string> {
    const namespace = `ns-${randomUUID()}`
    await ceph.tool('rbd', 'namespace', 'create', `rbd/${namespace}`)
    return namespace
  }

  interface Opened {
    readonly pool: PoolBackend
    readonly directory: string
    readonly told: string[]
  }

  async function openPool(
    t: TestContext,
    place: Partial<RbdPoolOptions['place']>,
    options: Partial<RbdPoolOptions> = {},
  ): Promise<Opened> {
    const folder = await mkdtemp(join(tmpdir(), 'kvasir-rbd-'))
    const directory = join(folder, 'login')
    const told: string[] = []
    const pool = createRbdPool({
      id: randomUUID(),
      place: {
        monitors: [ceph.monitor],
        cephPool: 'rbd',
        namespace: undefined,
        user: 'kvasir',
        secretId: 'right',
        networks: [],
        ...place,
      },
      directory,
      secrets: await openSecretFiles(jail.cages.directory),
      jailed: jail.jailed,
      onUnreachable: (reason) => told.push(reason),
      deadlines: patient,
      ...options,
    })
    t.after(() => rm(folder, { recursive: true, force: true }))
    return { pool, directory, told }
  }

  testPools({
    name: 'rbd',
    async open(t) {
      const namespace = await newNamespace()
      const { pool } = await openPool(t, { namespace })
      const { pool: rival } = await openPool(t, { namespace })
      return {
        pool,
        rival,
        addForeign: async () => {
          await ceph.tool('rbd', 'create', '--size', '8M', `rbd/${namespace}/their-disk`)
          return 'their-disk'
        },
      }
    },
  })

  const volume = (number: number): VolumeKey => ({
    id: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
    format: 'raw',
  })

  test('a key that the cluster refuses makes no pool, and neither does what is no key', async (t) => {
    const namespace = await newNamespace()
    for (const secretId of ['wrong', 'no-key']) {
      const { pool } = await openPool(t, { namespace, secretId })
      await assert.rejects(pool.claim({ force: true }), { code: 'pool-refused' }, secretId)
    }
    const { pool: stranger } = await openPool(t, { namespace, user: 'stranger' })
    await assert.rejects(stranger.claim({ force: true }), { code: 'pool-refused' })
    const { pool: nowhere } = await openPool(t, { cephPool: 'none' })
    await assert.rejects(nowhere.claim({ force: true }), { code: 'pool-refused' })
    const { pool: beyond } = await openPool(t, { namespace, networks: ['10.0.0.0/8'] })
    await assert.rejects(beyond.claim({ force: true }), /outside of 10\.0\.0\.0\/8/)
  })

  test('the key is in files for root alone, and gone when the pool is closed for good', async (t) => {
    const { pool, directory } = await openPool(t, { namespace: await newNamespace() })

    await pool.claim({ force: false })

    for (const name of await readdir(directory))
      assert.equal((await stat(join(directory, name))).mode & 0o777, 0o600, name)
    assert.equal((await stat(directory)).mode & 0o777, 0o700)
    assert.match(await readFile(join(directory, 'keyring'), 'utf8'), /key = /)
    await pool.release()
    assert.equal(existsSync(directory), false)
  })

  for (const daemon of ['osd', 'mon'] as const)
    test(`a pool whose ${daemon} hangs is unreachable within its deadline, once, and there again when it goes on`, async (t) => {
      const place = { namespace: await newNamespace() }
      const id = randomUUID()
      const { pool: first } = await openPool(t, place, { id })
      await first.claim({ force: false })
      const { pool, told } = await openPool(t, place, { id, deadlines: { lookMs: 5_000 } })
      ceph.stop(daemon)
      try {
        await assert.rejects(pool.inspect(), { code: 'pool-unreachable' })
        const startedAt = performance.now()
        await assert.rejects(pool.list(), { code: 'pool-unreachable' })
        assert.ok(performance.now() - startedAt < 1_000, 'nobody waits twice')
        assert.equal(told.length, 1)
      } finally {
        ceph.goOn(daemon)
      }
      await eventuallyThere(pool)
      assert.deepEqual(await pool.list(), [])
    })

  async function eventuallyThere(pool: PoolBackend): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await pool.inspect()
        return
      } catch (error) {
        if (tries > 20) throw error
      }
    }
  }

  test('an origin that is removed leaves nothing behind when the last of its clones is', async (t) => {
    const namespace = await newNamespace()
    const { pool } = await openPool(t, { namespace })
    await pool.claim({ force: false })
    await pool.createEmpty(volume(1), { capacityBytes: 8 * mib })
    await pool.createClone(volume(2), volume(1))
    await pool.createClone(volume(3), volume(2))

    await pool.remove(volume(1))
    await pool.remove(volume(2))
    assert.equal(await pool.capacityBytes(volume(3)), 8 * mib)
    await pool.remove(volume(3))

    assert.equal((await ceph.tool('rbd', 'trash', 'ls', `rbd/${namespace}`)).trim(), '')
    assert.equal((await ceph.tool('rbd', 'ls', `rbd/${namespace}`)).trim(), '')
  })

  test('what volumes hold at one moment is kept, and copies are made of that, also in a second attempt', async (t) => {
    const namespace = await newNamespace()
    const { pool } = await openPool(t, { namespace })
    await pool.claim({ force: false })
    const write = (number: number, byte: string) =>
      ceph.tool(
        'rbd',
        'bench',
        '--io-type',
        'write',
        '--io-size',
        byte,
        '--io-total',
        byte,
        `rbd/${namespace}/${volume(number).id}`,
      )
    const pairs = [1, 2].map((number) => ({ origin: volume(number), copy: volume(number + 10) }))
    for (const { origin } of pairs) await pool.createEmpty(origin, { capacityBytes: 8 * mib })
    await write(1, '4M')
    const kept = async () =>
      Promise.all(pairs.map(async (pair) => (await pool.moments?.isKept(pair)) ?? false))
    await ceph.tool('rbd', 'snap', 'create', `rbd/${namespace}/${volume(1).id}@for-${volume(99).id}`)

    {
      await using moment = await pool.moments?.open(pairs)
      assert.deepEqual(await kept(), [false, false])
      await moment?.take()
    }
    assert.deepEqual(await kept(), [true, true])
    await write(2, '4M')
    await pool.createEmpty(volume(11), { capacityBytes: 8 * mib }) // All that a daemon that died had made of it.
    for (const { origin, copy } of pairs) await pool.createClone(copy, origin)

    assert.deepEqual(await kept(), [false, false])
    assert.ok(((await pool.allocatedBytes(volume(11))) ?? 0) > 0)
    assert.equal(await pool.allocatedBytes(volume(12)), 0)
    assert.equal((await ceph.tool('rbd', 'snap', 'ls', `rbd/${namespace}/${volume(1).id}`)).trim(), '')
    await pool.moments?.letGo({ origin: volume(1), copy: volume(11) })
    await assert.rejects(async () => pool.moments?.open([{ origin: volume(7), copy: volume(8) }]))
    for (const number of [1, 2, 11, 12]) await pool.remove(volume(number))
    assert.equal((await ceph.tool('rbd', 'trash', 'ls', `rbd/${namespace}`)).trim(), '')
  })

  test('a clone that was whole when its daemon died is kept, and one of a name that is taken is refused in words', async (t) => {
    const namespace = await newNamespace()
    const { pool } = await openPool(t, { namespace })
    await pool.claim({ force: false })
    await pool.createEmpty(volume(1), { capacityBytes: 8 * mib })
    const [origin, copy] = [`rbd/${namespace}/${volume(1).id}`, `rbd/${namespace}/${volume(2).id}`]
    await ceph.tool('rbd', 'snap', 'create', `${origin}@for-${volume(2).id}`)
    await ceph.tool('rbd', 'clone', '--rbd-default-clone-format', '2', `${origin}@for-${volume(2).id}`, copy)
    const idOf = async () => JSON.parse(await ceph.tool('rbd', 'info', copy, '--format', 'json')).id
    const id = await idOf()

    await pool.createClone(volume(2), volume(1))

    assert.equal(await idOf(), id)
    assert.equal((await ceph.tool('rbd', 'snap', 'ls', origin)).trim(), '')
    await assert.rejects(pool.createClone(volume(2), volume(1)), {
      code: 'host-failed',
      message: /There is an RBD image .* already/,
    })
    await assert.rejects(pool.createClone(volume(3), volume(9)), { code: 'file-not-found' })
  })

  test('what a folder holds is copied into an image and back, byte by byte', async (t) => {
    const { pool } = await openPool(t, { namespace: await newNamespace() })
    await pool.claim({ force: false })
    const path = await mkdtemp(join(jail.cages.directory, 'pool-'))
    const folder = createDirPool({
      path,
      mark: randomUUID(),
      reservedBytes: 0,
      jailed: jail.jailed,
      onUnreachable: () => {},
    })
    await folder.claim({ force: true })
    t.after(() => folder.close())
    const work = { onProgress: () => {}, signal: never }
    await ceph.tool('rbd', 'ls', 'rbd')
    const bytes = Buffer.alloc(3 * mib, 'numbered ')
    const raw = (number: number) => ({ ...volume(number), format: 'raw' as const })
    await folder.createEmpty(raw(1), { capacityBytes: 3 * mib })
    await writeInto(join(path, `${volume(1).id}.raw`), bytes)

    await pool.createCopy(volume(2), [folder.source(raw(1))], work)
    await pool.createClone(volume(3), volume(2))
    await folder.createCopy({ ...volume(4), format: 'qcow2' }, [pool.source(volume(3))], work)
    await folder.createCopy(raw(5), [folder.source({ ...volume(4), format: 'qcow2' })], work)

    assert.ok((await readFile(join(path, `${volume(5).id}.raw`))).equals(bytes))
    assert.equal(await pool.allocatedBytes(volume(2)), 3 * mib)
  })

  test('an image that others made is taken for a volume as it is', async (t) => {
    const namespace = await newNamespace()
    const { pool } = await openPool(t, { namespace })
    await pool.claim({ force: false })
    await ceph.tool('rbd', 'create', '--size', '8M', `rbd/${namespace}/their-disk`)

    const theirs = { ...volume(1), file: 'their-disk' }
    assert.equal((await pool.adopt(theirs)).capacityBytes, 8 * mib)
    await assert.rejects(pool.adopt({ ...volume(2), file: 'none' }), { code: 'file-not-found' })
    for (const file of ['a/b', 'a@b'])
      await assert.rejects(pool.adopt({ ...volume(2), file }), { code: 'image-refused' })
    await pool.remove(theirs)
    assert.deepEqual(await pool.list(), [])
  })
})

async function writeInto(path: string, bytes: Buffer): Promise<void> {
  const { open } = await import('node:fs/promises')
  await using file = await open(path, 'r+')
  await file.write(bytes, 0, bytes.length, 0)
}
