/** What every pool of files must do, whatever it is made of. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import type { PoolFiles } from './files.ts'

/** A pool to test, and the emulator's part in it. */
export interface FilesUnderTest {
  readonly files: PoolFiles
  /** Writes a VM's memory to its partial save, as an emulator does. */
  readonly writePartialSave: (vmId: string, content: Uint8Array) => Promise<void>
}

export interface FilesSuiteOptions {
  readonly name: string
  readonly skip?: string | false
  readonly open: (t: TestContext) => Promise<FilesUnderTest>
}

const mib = 2 ** 20

/** Adds the tests for one implementation. */
export function testPoolFiles({ name, skip = false, open }: FilesSuiteOptions): void {
  for (const [sentence, check] of promises)
    void test(`${name}: ${sentence}`, { skip }, async (t) => check(await open(t)))
}

const promises: readonly [sentence: string, check: (given: FilesUnderTest) => Promise<void>][] = [
  [
    'a volume is there once it was made, and gone once it was removed',
    async ({ files }) => {
      await files.createEmpty('v1', 8 * mib)
      assert.deepEqual(await files.listVolumes(), ['v1'])
      assert.equal(typeof (await files.allocatedBytes('v1')), 'number')

      await files.removeVolume('v1')
      await files.removeVolume('v1')

      assert.deepEqual(await files.listVolumes(), [])
      assert.equal(await files.allocatedBytes('v1'), undefined)
    },
  ],

  [
    'a volume that is there is never made again',
    async ({ files }) => {
      await files.createEmpty('v1', 8 * mib)
      const base = { path: files.volumePath('v1'), format: 'qcow2' } as const
      await files.createEmpty('base', 8 * mib)

      await assert.rejects(files.createEmpty('v1', 16 * mib))
      await assert.rejects(files.createOverlay('v1', { ...base, path: files.volumePath('base') }, undefined))
    },
  ],

  [
    'an overlay needs its base',
    async ({ files }) => {
      const base = { path: files.volumePath('missing'), format: 'qcow2' } as const

      await assert.rejects(files.createOverlay('v1', base, undefined))

      assert.deepEqual(await files.listVolumes(), [])
    },
  ],

  [
    'a copy tells its progress up to the end',
    async ({ files }) => {
      await files.createEmpty('v1', 8 * mib)
      const told: number[] = []

      await files.createCopy(
        'v2',
        { path: files.volumePath('v1'), format: 'qcow2' },
        { onProgress: (fraction) => told.push(fraction), signal: new AbortController().signal },
      )

      assert.equal(told.at(-1), 1)
      assert.deepEqual([...(await files.listVolumes())].toSorted(inOrder), ['v1', 'v2'])
    },
  ],

  [
    'a copy that is cancelled leaves nothing',
    async ({ files }) => {
      await files.createEmpty('v1', 8 * mib)
      const why = new KvasirError('cancelled', 'The job was cancelled.')

      const copy = files.createCopy(
        'v2',
        { path: files.volumePath('v1'), format: 'qcow2' },
        { onProgress: () => {}, signal: AbortSignal.abort(why) },
      )

      await assert.rejects(copy)
      assert.deepEqual(await files.listVolumes(), ['v1'])
    },
  ],

  [
    'saved memory is partial until it is published',
    async ({ files, writePartialSave }) => {
      await writePartialSave('vm1', Buffer.from('memory'))
      assert.deepEqual(await files.listSaves(), [{ vmId: 'vm1', partial: true }])

      assert.deepEqual(await files.commitSave('vm1'), { sizeBytes: 6 })
      assert.deepEqual(await files.listSaves(), [{ vmId: 'vm1', partial: false }])

      await files.removeSave('vm1')
      await files.removeSave('vm1')
      assert.deepEqual(await files.listSaves(), [])
    },
  ],

  [
    'nothing is published where nothing was written',
    async ({ files }) => {
      await assert.rejects(files.commitSave('vm1'))
    },
  ],

  [
    'a seed can be written again, and removed twice',
    async ({ files }) => {
      await files.writeSeed('vm1', Buffer.from('one'))
      await files.writeSeed('vm1', Buffer.from('two'))
      assert.deepEqual(await files.listSeeds(), ['vm1'])

      await files.removeSeed('vm1')
      await files.removeSeed('vm1')

      assert.deepEqual(await files.listSeeds(), [])
    },
  ],

  [
    'what is not an id never becomes a path',
    async ({ files }) => {
      for (const id of ['', '..', '../x', 'a/b', 'a\0b', '-rf', 'a'.repeat(200)])
        assert.throws(() => files.volumePath(id), TypeError, JSON.stringify(id))
    },
  ],
]

function inOrder(a: string, b: string): number {
  return a.localeCompare(b)
}
