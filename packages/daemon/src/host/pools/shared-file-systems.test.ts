/** Which file systems others may have too. */
import assert from 'node:assert/strict'
import { statfs } from 'node:fs/promises'
import { test } from 'node:test'
import { isShared } from './shared-file-systems.ts'

test('what a server holds is shared; what the kernel makes up of its own memory is not', async () => {
  const [nfs, sshfs] = [0x6969, 0x65735546]
  assert.deepEqual([nfs, sshfs].map(isShared), [true, true])
  assert.equal(isShared((await statfs('/proc')).type), false)
  assert.equal(isShared(undefined), false)
})
