import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ChangedPiece } from '@kvasir/contract/contents'
import { needs } from '../../../../tools/require.ts'
import { Qcow2File } from './qcow2-file.ts'

const skip = needs('qemu')
const cluster = 65_536
/** More than one table, and an end in the middle of a cluster. */
const sizeBytes = 8192 * cluster + 3 * cluster + 512

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kvasir-qcow2-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

async function write(path: string, pieces: readonly ChangedPiece[], isIncrement: boolean): Promise<void> {
  const file = await open(path, 'w')
  try {
    const qcow2 = new Qcow2File(file, { sizeBytes, isIncrement })
    for (const piece of pieces) await qcow2.put(piece)
    await qcow2.finish()
  } finally {
    await file.close()
  }
  execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', path])
}

function data(byte: number, lengthBytes: number): ChangedPiece {
  return { kind: 'data', bytes: Buffer.alloc(lengthBytes, byte) }
}

async function assertReads(
  path: string,
  parts: readonly (readonly [offset: number, byte: number])[],
): Promise<void> {
  for (const [offset, byte] of parts) {
    const said = execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', `read -P ${byte} ${offset} 512`, path])
    assert.doesNotMatch(said.toString(), /verification failed/, `${byte} at ${offset}`)
  }
}

test('pieces of any length become a qcow2 file that is without fault and as large as what it holds', {
  skip,
}, async (t) => {
  const path = join(await folder(t), 'full.qcow2')

  await write(
    path,
    [
      data(1, 100_000),
      data(1, cluster * 20 - 100_000),
      { kind: 'zeros', lengthBytes: cluster * 10 + 100 },
      data(2, cluster - 100),
      data(0, cluster * 3),
      { kind: 'zeros', lengthBytes: sizeBytes - 34 * cluster - 512 },
      data(3, 512),
    ],
    false,
  )

  await assertReads(path, [
    [0, 1],
    [cluster * 20 - 512, 1],
    [cluster * 20, 0],
    [cluster * 30 + 512, 2],
    [cluster * 31, 0],
    [sizeBytes - 512, 3],
  ])
  assert.ok((await readFile(path)).length < 40 * cluster)
})

test('changes laid over a full copy are the disk: zeros hide what was, and what did not change shows through', {
  skip,
}, async (t) => {
  const place = await folder(t)
  const [full, increment] = [join(place, 'full.qcow2'), join(place, 'increment.qcow2')]
  await write(full, [data(1, 10 * cluster), { kind: 'zeros', lengthBytes: sizeBytes - 10 * cluster }], false)

  await write(
    increment,
    [
      { kind: 'same', lengthBytes: cluster },
      data(2, cluster),
      { kind: 'zeros', lengthBytes: cluster },
      data(0, cluster),
      { kind: 'same', lengthBytes: sizeBytes - 4 * cluster },
    ],
    true,
  )
  execFileSync('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-b', full, '-F', 'qcow2', increment])

  await assertReads(increment, [
    [0, 1],
    [cluster, 2],
    [2 * cluster, 0],
    [3 * cluster, 0],
    [4 * cluster, 1],
    [sizeBytes - 512, 0],
  ])
})

test('a file that was not finished is no qcow2 file', { skip }, async (t) => {
  const path = join(await folder(t), 'half.qcow2')
  const file = await open(path, 'w')
  const qcow2 = new Qcow2File(file, { sizeBytes, isIncrement: false })
  for (let count = 0; count < 40; count++) await qcow2.put(data(1, cluster))

  await assert.rejects(qcow2.finish(), /longer than what came/)
  await file.close()

  assert.notEqual((await readFile(path)).toString('latin1', 0, 4), 'QFI\xfb')
  await writeFile(path, '')
})
