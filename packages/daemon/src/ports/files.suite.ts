/** What the files of a state directory must do, whatever they are made of. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { StateFiles } from './files.ts'

/** Files to test, and the emulator's part in it. */
export interface FilesUnderTest {
  readonly files: StateFiles
  /** Writes a VM's memory to its partial save, as an emulator does. */
  readonly writePartialSave: (vmId: string, content: Uint8Array) => Promise<void>
}

export interface FilesSuiteOptions {
  readonly name: string
  readonly skip?: string | false
  readonly open: (t: TestContext) => Promise<FilesUnderTest>
}

/** Adds the tests for one implementation. */
export function testStateFiles({ name, skip = false, open }: FilesSuiteOptions): void {
  for (const [sentence, check] of promises)
    void test(`${name}: ${sentence}`, { skip }, async (t) => check(await open(t)))
}

const promises: readonly [sentence: string, check: (given: FilesUnderTest) => Promise<void>][] = [
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
    'a file for notes is empty when it is made, and can be removed twice',
    async ({ files }) => {
      await files.makeNotes('volume1', 2 ** 20)
      await files.makeNotes('volume1', 2 ** 20)
      assert.deepEqual(await files.listNotes(), ['volume1'])
      assert.match(files.notesPath('volume1'), /volume1/)
      await assert.rejects(files.makeNotes('../volume1', 0), TypeError)

      await files.removeNotes('volume1')
      await files.removeNotes('volume1')

      assert.deepEqual(await files.listNotes(), [])
    },
  ],

  [
    'what is not an id never becomes a path',
    async ({ files }) => {
      for (const id of ['', '..', '../x', 'a/b', 'a\0b', '-rf', 'a'.repeat(200)])
        assert.throws(() => files.savePath(id), TypeError, JSON.stringify(id))
    },
  ],
]
