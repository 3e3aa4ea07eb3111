import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

/** Says in a process of its own that root is lacking. */
function sayLackingRoot(required: string) {
  const program = `import { lacking } from '${join(import.meta.dirname, 'require.ts')}'; console.log(lacking('root', 'uid 1000'))`
  const env = { ...process.env, KVASIR_REQUIRE: required }
  return spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 10_000,
    env,
  })
}

test('what is lacking is printed and becomes the reason of a skip', () => {
  const { status, stdout, stderr } = sayLackingRoot('qemu')

  assert.equal(status, 0)
  assert.match(stdout, /SKIPPED for want of root: uid 1000/)
  assert.match(stderr, /SKIPPED for want of root: uid 1000/)
})

test('what KVASIR_REQUIRE names may not be lacking', () => {
  const { status, stderr } = sayLackingRoot('qemu, root')

  assert.equal(status, 1)
  assert.match(stderr, /KVASIR_REQUIRE names root, so this may not be skipped: uid 1000/)
})
