/** What every backend of pools must do, whatever it is made of. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import type { PoolBackend, VolumeKey } from './pools.ts'

/** Two pools to test, of the same kind and not in each other's place. */
export interface PoolsUnderTest {
  readonly pool: PoolBackend
  /** Another pool that wants the place of the first. */
  readonly rival: PoolBackend
  /** Puts something there that is not ours, as an operator would; answers what it is called. */
  readonly addForeign: () => Promise<string>
}

export interface PoolsSuiteOptions {
  readonly name: string
  readonly skip?: string | false
  readonly open: (t: TestContext) => Promise<PoolsUnderTest>
}

const mib = 2 ** 20
const never = new AbortController().signal

/** Adds the tests for one implementation. */
export function testPools({ name, skip = false, open }: PoolsSuiteOptions): void {
  for (const [sentence, check] of promises)
    void test(`${name}: ${sentence}`, { skip }, async (t) => check(await open(t)))
}

/** A volume of the first format that the pool has. */
function volumeOf({ capabilities }: PoolBackend): (number: number) => VolumeKey {
  return (number) => volume(number, capabilities.formats[0] ?? 'raw')
}

/** Whether a volume can be laid over another. */
function hasOverlays({ capabilities }: PoolBackend): boolean {
  return capabilities.formats.includes('qcow2')
}

function volume(number: number, format: VolumeKey['format']): VolumeKey {
  return { id: `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`, format }
}

async function ids(pool: PoolBackend): Promise<readonly string[]> {
  return (await pool.list()).map(({ volumeId = '' }) => volumeId).toSorted((a, b) => a.localeCompare(b))
}

const promises: readonly [sentence: string, check: (given: PoolsUnderTest) => Promise<void>][] = [
  [
    'a pool that was claimed is there, and says how much room it has',
    async ({ pool }) => {
      await pool.claim({ force: false })
      await pool.claim({ force: false })

      const { capacityBytes, allocatedBytes, availableBytes } = await pool.inspect()

      assert.ok(capacityBytes > 0 && allocatedBytes >= 0 && availableBytes > 0)
      assert.ok(allocatedBytes + availableBytes <= capacityBytes)
      assert.deepEqual(await pool.list(), [])
    },
  ],

  [
    'a place that is marked as another pool is taken only by force',
    async ({ pool, rival }) => {
      await pool.claim({ force: false })

      await assert.rejects(rival.claim({ force: false }), (error) => {
        return error instanceof KvasirError && error.code === 'pool-refused'
      })
      await rival.claim({ force: true })
      await rival.inspect()
    },
  ],

  [
    'a volume of each format is there once it was made, and gone once it was removed',
    async ({ pool }) => {
      await pool.claim({ force: false })
      for (const [index, format] of pool.capabilities.formats.entries()) {
        const made = volume(index + 1, format)
        await pool.createEmpty(made, { capacityBytes: 8 * mib })
        assert.deepEqual(await ids(pool), [made.id])
        assert.equal(typeof (await pool.allocatedBytes(made)), 'number')
        assert.equal(pool.source(made).format, format)

        await pool.remove(made)
        await pool.remove(made)

        assert.deepEqual(await ids(pool), [])
        assert.equal(await pool.allocatedBytes(made), undefined)
      }
    },
  ],

  [
    'a volume that is there is never made again',
    async ({ pool }) => {
      const numbered = volumeOf(pool)
      await pool.claim({ force: false })
      await pool.createEmpty(numbered(1), { capacityBytes: 8 * mib })
      await pool.createEmpty(numbered(2), { capacityBytes: 8 * mib })

      await assert.rejects(pool.createEmpty(numbered(1), { capacityBytes: 16 * mib }))
      await assert.rejects(pool.createOverlay(numbered(1), pool.source(numbered(2)), 8 * mib))
      assert.deepEqual(await ids(pool), [numbered(1).id, numbered(2).id])
    },
  ],

  [
    'an overlay needs its base',
    async ({ pool }) => {
      const numbered = volumeOf(pool)
      await pool.claim({ force: false })

      await assert.rejects(pool.createOverlay(numbered(1), pool.source(numbered(9)), 8 * mib))

      assert.deepEqual(await pool.list(), [])
    },
  ],

  [
    'a copy of a chain tells its progress up to the end',
    async ({ pool }) => {
      const numbered = volumeOf(pool)
      await pool.claim({ force: false })
      await pool.createEmpty(numbered(1), { capacityBytes: 8 * mib })
      if (hasOverlays(pool)) await pool.createOverlay(numbered(2), pool.source(numbered(1)), 16 * mib)
      else await pool.createEmpty(numbered(2), { capacityBytes: 16 * mib })
      const told: number[] = []
      const below = hasOverlays(pool) ? [pool.source(numbered(1))] : []

      await pool.createCopy(numbered(3), [pool.source(numbered(2)), ...below], {
        onProgress: (fraction) => told.push(fraction),
        signal: never,
      })

      assert.equal(told.at(-1), 1)
      assert.deepEqual(await ids(pool), [numbered(1).id, numbered(2).id, numbered(3).id])
    },
  ],

  [
    'a volume of each format grows and shrinks, an overlay too, and knows its capacity by itself',
    async ({ pool }) => {
      const numbered = volumeOf(pool)
      await pool.claim({ force: false })
      for (const [index, format] of pool.capabilities.formats.entries()) {
        const made = volume(index + 1, format)
        await pool.createEmpty(made, { capacityBytes: 8 * mib })
        await pool.resize(made, 32 * mib)
        assert.equal(await pool.capacityBytes(made), 32 * mib)
        if (!pool.capabilities.shrink) continue
        await pool.resize(made, 4 * mib)
        assert.equal(await pool.capacityBytes(made), 4 * mib)
      }
      await assert.rejects(pool.capacityBytes(numbered(8)))
      if (!hasOverlays(pool)) return
      await pool.createOverlay(numbered(9), pool.source(numbered(1)), 8 * mib)
      await pool.resize(numbered(9), 16 * mib)
      assert.equal(await pool.capacityBytes(numbered(9)), 16 * mib)
    },
  ],

  [
    'a clone needs its origin to begin with and not afterwards, where a pool has such',
    async ({ pool }) => {
      const numbered = volumeOf(pool)
      await pool.claim({ force: false })
      await assert.rejects(pool.createClone(numbered(2), numbered(1)))
      if (!pool.capabilities.independentClones) return
      await pool.createEmpty(numbered(1), { capacityBytes: 8 * mib })

      await pool.createClone(numbered(2), numbered(1))
      await assert.rejects(pool.createClone(numbered(2), numbered(1)))
      await pool.remove(numbered(1))

      assert.deepEqual(await ids(pool), [numbered(2).id])
      assert.equal(await pool.capacityBytes(numbered(2)), 8 * mib)
    },
  ],

  [
    'a copy that is cancelled leaves nothing',
    async ({ pool }) => {
      const numbered = volumeOf(pool)
      await pool.claim({ force: false })
      await pool.createEmpty(numbered(1), { capacityBytes: 8 * mib })
      const signal = AbortSignal.abort(new KvasirError('cancelled', 'The job was cancelled.'))

      await assert.rejects(
        pool.createCopy(numbered(2), [pool.source(numbered(1))], { onProgress: () => {}, signal }),
      )

      assert.deepEqual(await ids(pool), [numbered(1).id])
    },
  ],

  [
    'what others put there is listed as not ours, and not touched',
    async ({ pool, addForeign }) => {
      await pool.claim({ force: false })
      const file = await addForeign()

      const found = await pool.list()

      assert.deepEqual(
        found.map((entry) => [entry.file, entry.volumeId, entry.isVolume]),
        [[file, undefined, true]],
      )
      await pool.release()
    },
  ],

  [
    'what is not an id never becomes a place',
    async ({ pool }) => {
      for (const id of ['', '..', '../x', 'a/b', 'a\0b', '-rf', 'a'.repeat(200)])
        assert.throws(() => pool.source({ id, format: 'qcow2' }), TypeError, JSON.stringify(id))
    },
  ],
]
