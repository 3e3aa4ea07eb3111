import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareContents } from './pool-contents.ts'

test('a file of others is said to be importable only where it has a size that a volume may have', () => {
  const entry = (file: string, sizeBytes: number) => ({
    file,
    volumeId: undefined,
    isVolume: true,
    sizeBytes,
  })

  const findings = compareContents([entry('disk', 1024), entry('empty', 0), entry('odd', 1000)], [])

  assert.deepEqual(
    findings.map(({ detail }) => detail),
    [
      'It is no volume of ours. It can be imported.',
      'It is no volume of ours. It is empty, so it cannot be imported.',
      'It is no volume of ours. It has 1000 bytes, which is no whole number of sectors, so it cannot be imported unless it is a qcow2 file.',
    ],
  )
})
