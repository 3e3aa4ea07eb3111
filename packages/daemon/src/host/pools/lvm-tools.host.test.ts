/** What the LVM of this machine says; what takes logical volumes is in the lab, whose LVM is another one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { needs } from '../../../../../tools/require.ts'
import { LvmTools } from './lvm-tools.ts'

const skip = needs('root')

test('a volume group that is not there is told from one that cannot be looked at', { skip }, async () => {
  const tools = new LvmTools({ vg: `kvasir-test-${process.pid}`, onUnreachable: () => {} })

  assert.equal(await tools.look(), undefined)
  await assert.rejects(tools.see(), (error) => {
    assert.ok(error instanceof KvasirError)
    assert.equal(error.code, 'pool-unreachable')
    assert.match(error.message, /there is no volume group kvasir-test-/)
    return true
  })
})
