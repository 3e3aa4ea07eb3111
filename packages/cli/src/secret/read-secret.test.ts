import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readSecret } from './read-secret.ts'

test('a secret is what a file holds, but for one line break at its end', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-secret-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'secret')
  const read = async (content: string | Uint8Array) => {
    await writeFile(file, content)
    return await readSecret(file)
  }

  assert.equal(await read('a key\n'), 'a key')
  assert.equal(await read('a key\r\n'), 'a key')
  assert.equal(await read(' a \n\n'), ' a \n')
  assert.equal(await read('ä'), 'ä')
  for (const content of ['', '\n', Buffer.from([0xff, 0xfe]), 'x'.repeat(8193)])
    await assert.rejects(read(content), { code: 'bad-request' })
  await assert.rejects(readSecret(join(folder, 'none')), { code: 'file-not-found' })
})
