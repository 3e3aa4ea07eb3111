/** A write that the kernel does not come back from is stood for by a FIFO that nobody reads. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runCommand } from '@kvasir/linux'
import { writeKernelFile } from './write-kernel-file.ts'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'kvasir-write-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

async function stuckFile(t: TestContext): Promise<string> {
  const path = join(folder(t), 'stuck')
  await runCommand(['mkfifo', path], { timeoutMs: 5_000 })
  return path
}

test('what is written arrives, and a refusal is one', async (t) => {
  const path = join(folder(t), 'file')
  writeFileSync(path, '0')

  const did = await writeKernelFile(path, '12', { timeoutMs: 5_000 })

  assert.equal(did, 'taken')
  assert.equal(readFileSync(path, 'utf8'), '12')
  assert.equal(await writeKernelFile(`${path}/none`, '12', { timeoutMs: 5_000 }), 'refused')
})

test('writes that hang end in time, and hold up nobody who reads files meanwhile', async (t) => {
  const path = await stuckFile(t)
  const since = performance.now()

  const stuck = Array.from({ length: 6 }, () => writeKernelFile(path, '1', { timeoutMs: 1_500 }))
  await readFile('/proc/self/status')
  const readMs = performance.now() - since
  const did = await Promise.all(stuck)

  assert.deepEqual(new Set(did), new Set(['out-of-time']))
  assert.ok(readMs < 1_000, `${readMs} ms`)
  assert.ok(performance.now() - since < 4_000)
})

test('a write ends with its caller', async (t) => {
  const path = await stuckFile(t)
  const controller = new AbortController()
  const reason = new Error('cancelled')
  setTimeout(() => controller.abort(reason), 50)

  await assert.rejects(writeKernelFile(path, '1', { timeoutMs: 60_000, signal: controller.signal }), reason)
})
