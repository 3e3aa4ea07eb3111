import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { CephTools } from './ceph-tools.ts'

/** As a cluster would make it: the type, a time, the length, 16 bytes. */
const key = Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(8), Buffer.from([16, 0]), Buffer.alloc(16, 7)])

test('who runs a command while a pool is looked at anew finds the whole key, and nothing is left of writing it', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-ceph-tools-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const tools = new CephTools({
    place: {
      monitors: ['127.0.0.1:6789'],
      cephPool: 'rbd',
      namespace: undefined,
      user: 'kvasir',
      secretId: 'secret',
      networks: [],
    },
    directory: join(directory, 'login'),
    secrets: { read: () => Promise.resolve(Buffer.from(key.toString('base64'))) },
    onUnreachable: () => {},
  })
  const { keyring, conf } = await tools.login()
  const whole = [keyring, conf].map((path) => readFileSync(path, 'utf8'))
  assert.match(whole[0] ?? '', /key = AQ/)

  for (let round = 0; round < 20; round++) {
    tools.tryAgain()
    let isWritten = false
    const written = tools.login().then(() => {
      isWritten = true
    })
    while (!isWritten) {
      assert.deepEqual(
        [keyring, conf].map((path) => readFileSync(path, 'utf8')),
        whole,
      )
      await turn()
    }
    await written
  }
  assert.deepEqual((await readdir(join(directory, 'login'))).toSorted(), ['ceph.conf', 'keyring'])
})
