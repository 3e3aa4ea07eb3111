/** Pools of iSCSI on a real server: what is found there, what is refused, and a server that is stopped. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { type IscsiServer, openIscsiServer } from '../../../../../tools/servers/iscsi-target.ts'
import type { IscsiSource } from '../../ports/pool-source.ts'
import type { PoolBackend } from '../../ports/pools.ts'
import { openTestJail, type TestJail } from '../jail/testing/test-jail.ts'
import { createIscsiPool } from './iscsi-pool.ts'

const mib = 2 ** 20
const disks = 'iqn.2026-11.example:disks'
const closed = 'iqn.2026-11.example:closed'
const chap = { user: 'alice', secret: 'a secret of alice' }
const id = '00000000-0000-4000-8000-000000000001'

describe('a pool of an iSCSI target', { skip: needs('root', 'qemu', 'tgt') }, () => {
  let server: IscsiServer
  const unreachable: string[] = []

  before(async () => {
    server = await openIscsiServer()
    await server.addTarget(disks, [64 * mib, 32 * mib])
    await server.addTarget(closed, [16 * mib], chap)
  })
  after(() => server[Symbol.asyncDispose]())

  const pool = (source: Partial<IscsiSource> = {}, secret = chap.secret): PoolBackend =>
    createIscsiPool({
      source: {
        type: 'iscsi',
        server: server.address,
        port: server.port,
        target: disks,
        initiator: 'iqn.2026-11.example:tests',
        user: undefined,
        secretId: undefined,
        ...source,
      },
      secrets: { read: async () => Buffer.from(secret) },
      deadlineMs: 3_000,
      onUnreachable: (reason) => unreachable.push(reason),
    })

  test('its LUNs are what lies in it, and they are all the room that it has', async () => {
    const own = pool()
    await own.claim({ force: false })

    assert.deepEqual(
      (await own.list()).map(({ file, sizeBytes, isVolume }) => [file, sizeBytes, isVolume]),
      [
        ['lun-1', 64 * mib, true],
        ['lun-2', 32 * mib, true],
      ],
    )
    const { capacityBytes, allocatedBytes, isFixed } = await own.inspect()
    assert.deepEqual([capacityBytes, allocatedBytes, isFixed], [96 * mib, 96 * mib, true])
  })

  test('a LUN is imported as the raw disk that it is', async () => {
    const own = pool()

    assert.equal((await own.adopt({ id, file: 'lun-2', format: 'raw' })).capacityBytes, 32 * mib)

    await rejectsWith('image-refused', own.adopt({ id, file: 'lun-2', format: 'qcow2' }))
    await rejectsWith('file-not-found', own.adopt({ id, file: 'lun-9', format: 'raw' }))
    await rejectsWith('unsupported', own.adopt({ id, file: '../lun-1', format: 'raw' }))
  })

  test('nothing is made, laid over, copied or resized in it, and what is removed stays', async () => {
    const own = pool()
    const volume = { id, file: 'lun-1', format: 'raw' as const }
    const work = { onProgress: () => {}, signal: AbortSignal.timeout(60_000) }

    await rejectsWith('unsupported', own.createEmpty({ id, format: 'raw' }, { capacityBytes: mib }))
    await rejectsWith('unsupported', own.createOverlay({ id, format: 'raw' }, own.source(volume), mib))
    await rejectsWith('unsupported', own.createCopy({ id, format: 'raw' }, [own.source(volume)], work))
    await rejectsWith('unsupported', own.resize(volume, 128 * mib))
    await own.resize(volume, 64 * mib)
    await own.remove(volume)

    assert.equal(await own.capacityBytes(volume), 64 * mib)
  })

  test('what comes and goes on the server is seen at the next look', async () => {
    const own = pool()
    await server.addLun(disks, 3, 8 * mib)
    assert.ok((await own.list()).some(({ file }) => file === 'lun-3'))
    await server.removeLun(disks, 3)
    assert.equal(await own.allocatedBytes({ id, file: 'lun-3', format: 'raw' }), undefined)
  })

  test('a target with CHAP opens to the right user and secret alone', async () => {
    await pool({ target: closed, user: chap.user, secretId: 's' }).claim({ force: false })

    for (const [source, secret] of [
      [{ target: closed }, undefined],
      [{ target: closed, user: chap.user, secretId: 's' }, 'another secret'],
      [{ target: closed, user: 'mallory', secretId: 's' }, undefined],
      [{ target: 'iqn.2026-11.example:none' }, undefined],
      [{ server: 'nowhere.invalid' }, undefined],
    ] as const)
      await rejectsWith('pool-refused', pool(source, secret).claim({ force: false }))
  })

  test('a server that is stopped makes it unreachable within its deadline, once for all who ask', async () => {
    const own = pool()
    await own.inspect()
    unreachable.length = 0
    server.stop()
    try {
      const began = performance.now()
      await rejectsWith('pool-unreachable', own.list())
      const first = performance.now() - began
      await rejectsWith('pool-unreachable', own.list())

      assert.ok(first > 2_500, `The first waited ${first} ms.`)
      assert.deepEqual(unreachable, ['it does not answer in time'])
    } finally {
      server.goOn()
    }
    await own.inspect()
    assert.equal((await own.list()).length, 2)
  })

  test('QEMU opens a LUN in its jail, which reaches that server and no other port', async (t) => {
    const jail: TestJail = await openTestJail()
    t.after(() => jail[Symbol.asyncDispose]())
    const source = pool().source({ id, file: 'lun-1', format: 'raw' })
    assert.ok(source.kind === 'protocol')
    const node = { driver: source.driver, ...source.options }
    const info = (reach: typeof source.reach) =>
      jail.jailed.run(
        {
          tool: 'qemu-img',
          args: ['info', '--output=json', `json:${JSON.stringify({ driver: 'raw', file: node })}`],
          inputs: [],
          reach,
          timeoutMs: 60_000,
          fileSizeBytes: 0,
        },
        AbortSignal.timeout(60_000),
      )

    const seen = await info(source.reach)
    assert.equal(seen.exitCode, 0, seen.stderr)
    assert.match(seen.stdout, new RegExp(`"virtual-size": ${64 * mib}`))
    for (const reach of [[], [{ address: '127.0.0.1', firstPort: server.port === 1 ? 2 : 1 }]])
      assert.match((await info(reach)).stderr, /unreachable|Failed to connect/i)
  })
})

async function rejectsWith(code: KvasirError['code'], work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof KvasirError, String(error))
    assert.equal(error.code, code, error.message)
    return true
  })
}
