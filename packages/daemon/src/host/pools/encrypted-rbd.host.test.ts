/** An image of a real Ceph that is encrypted: what the cluster keeps is closed, and QEMU opens it with two secrets. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import { startCeph } from '../../../../../tools/servers/ceph-cluster.ts'
import type { VolumeKey } from '../../ports/pools.ts'
import { openSecretFiles } from '../files/secret-files.ts'
import { openTestJail } from '../jail/testing/test-jail.ts'
import { withEncryptedRaw } from './encrypted-raw.ts'
import { createRbdPool } from './rbd-pool.ts'
import { createVolumeAccess } from './volume-access.ts'

const mib = 2 ** 20
const { signal } = new AbortController()
const plain = 'what must not lie there in the clear'

test('an encrypted image is made, written, copied and resized, and the cluster has no word of it', {
  skip: needs('root', 'qemu', 'ceph'),
}, async (t) => {
  await using ceph = await startCeph()
  await using jail = await openTestJail()
  await jail.secrets.write('login', `${ceph.key}\n`)
  const secretId = randomUUID()
  await jail.secrets.write(secretId, 'a passphrase')
  const folder = await mkdtemp(join(tmpdir(), 'kvasir-rbd-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const { monitor } = ceph
  const place = { monitors: [monitor], cephPool: 'rbd', namespace: undefined, user: 'kvasir', networks: [] }
  const pool = withEncryptedRaw(
    createRbdPool({
      id: randomUUID(),
      place: { ...place, secretId: 'login' },
      directory: join(folder, 'login'),
      secrets: await openSecretFiles(jail.cages.directory),
      jailed: jail.jailed,
      onUnreachable: () => {},
      deadlines: { lookMs: 120_000 },
    }),
    jail.jailed,
  )
  await pool.claim({ force: false })
  const key = (id: string): VolumeKey => ({ id, format: 'raw', encryption: { secretId } })
  const [one, two] = [key(randomUUID()), key(randomUUID())]
  const access = createVolumeAccess({ jailed: jail.jailed })
  const open = (volume: VolumeKey, how: 'read' | 'write', secret = secretId) =>
    access.open([{ ...pool.source(volume), encryption: { secretId: secret } }], {
      access: how,
      fileSizeBytes: 0,
      signal,
    })

  assert.ok(pool.moments, 'What an RBD pool can besides, one that encrypts can too.')
  assert.equal(await pool.flatten?.(one, { onProgress: () => {}, signal }).catch(() => 'none'), 'none')
  await pool.createEmpty(one, { capacityBytes: 4 * mib })
  assert.equal(await pool.flatten?.(one, { onProgress: () => {}, signal }), false)
  const written = await open(one, 'write')
  await written.write(0, Buffer.alloc(4096, plain))
  await written.flush()
  await written.close()
  await pool.createCopy(two, [{ ...pool.source(one), encryption: { secretId } }], {
    onProgress: () => {},
    signal,
  })
  await pool.resize(two, 8 * mib)

  assert.deepEqual([await pool.capacityBytes(one), await pool.capacityBytes(two)], [4 * mib, 8 * mib])
  const read = await open(two, 'read')
  assert.ok(Buffer.from(await read.read(0, 4096)).equals(Buffer.alloc(4096, plain)))
  await read.close()
  for (const { id } of [one, two]) {
    const path = join(folder, id)
    await ceph.tool('rbd', 'export', `rbd/${id}`, path)
    const exported = await readFile(path)
    assert.equal(exported.includes(plain), false)
    assert.equal(exported.toString('latin1', 0, 4), 'LUKS')
  }
  const other = randomUUID()
  await jail.secrets.write(other, 'another passphrase')
  await assert.rejects(open(two, 'read', other), { code: 'secret-refused' })
})
