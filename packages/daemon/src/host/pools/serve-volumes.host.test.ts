/** Volumes served by NBD from the jail, read with QEMU's own client. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { VolumeServer } from '../../ports/volume-access.ts'
import { openTestJail } from '../jail/testing/test-jail.ts'
import { openTestPool } from './testing/test-pool.ts'
import { createVolumeAccess } from './volume-access.ts'

const skip = needs('root', 'qemu')
const run = promisify(execFile)
const mib = 2 ** 20
const { signal } = new AbortController()

test('each volume is an export of its name, an encrypted one with its secret, until that is ended', {
  skip,
}, async (t) => {
  await using jail = await openTestJail()
  const folder = await newFolder(t)
  const { pool } = openTestPool(t, folder, jail.jailed)
  const access = createVolumeAccess({ jailed: jail.jailed })
  const secretId = randomUUID()
  await jail.secrets.write(secretId, 'not for everybody')
  const key = { id: 'v1', format: 'qcow2', encryption: { secretId } } as const
  await pool.createEmpty(key, { capacityBytes: 4 * mib })
  const hidden: VolumeSource = { ...pool.source(key), encryption: { secretId } }
  const volume = await access.open([hidden], { access: 'write', fileSizeBytes: 64 * mib, signal })
  await volume.write(mib, Buffer.from('hidden'))
  await volume.close()
  const path = join(folder, 'plain.raw')
  await writeFile(path, 'plain')
  await truncate(path, mib)

  const server = await access.serve(
    [
      { name: 'hidden', chain: [hidden] },
      { name: 'plain', chain: [{ path, format: 'raw' }] },
    ],
    { signal },
  )
  const socket = await listen(t, server, join(folder, 'nbd'))
  const read = async (name: string) => {
    const file = join(folder, `${name}.read`)
    const url = `nbd+unix:///${name}?socket=${socket}`
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', url, file])
    return await readFile(file)
  }
  const [first, second] = await Promise.all([read('hidden'), read('plain')])
  assert.deepEqual([first.length, first.toString('latin1', mib, mib + 6)], [4 * mib, 'hidden'])
  assert.deepEqual([second.length, second.toString('latin1', 0, 5)], [mib, 'plain'])
  await assert.rejects(read('none'))
  await server.close()

  await assert.rejects(server.connect(), { code: 'host-failed' })
  await server.ended
  const again = await access.open([hidden], { access: 'write', fileSizeBytes: 64 * mib, signal })
  await again.close()
})

test('what cannot be opened is refused with what the tool said of it', { skip }, async (t) => {
  await using jail = await openTestJail()
  const path = join(await newFolder(t), 'no.qcow2')
  await writeFile(path, 'this is none')
  const access = createVolumeAccess({ jailed: jail.jailed })

  const serving = access.serve([{ name: 'a', chain: [{ path, format: 'qcow2' }] }], { signal })

  await assert.rejects(
    serving,
    (error) => error instanceof KvasirError && /could not open/.test(error.message),
  )
})

async function newFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-serve-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A socket on which everybody gets a connection to the volumes. */
async function listen(t: TestContext, volumes: VolumeServer, path: string): Promise<string> {
  const server = createServer((reader) => {
    reader.on('error', () => {})
    volumes.connect().then(
      (stream) => void reader.pipe(stream).pipe(reader),
      () => reader.destroy(),
    )
  })
  t.after(() => server.close())
  server.listen(path)
  await once(server, 'listening')
  return path
}
