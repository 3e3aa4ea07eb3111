import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readMounts } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { NfsMount } from './nfs-mount.ts'
import { GroundError } from './pool-ground.ts'

test('an export that cannot be mounted says why: no client, no mount.nfs, or what the server said', {
  skip: needs('root'),
}, async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'kvasir-nfs-'))
  t.after(() => rmSync(parent, { recursive: true, force: true }))
  const folder = join(parent, 'mount')
  const mount = new NfsMount({ server: '127.0.0.1', export: '/kvasir-exports-nothing-here', folder })

  await assert.rejects(mount.lay(), (error) => {
    assert.ok(error instanceof GroundError)
    assert.match(error.message, /no NFS client|no mount\.nfs|cannot be mounted: \S|does not answer/)
    return true
  })
  await mount.lift()
  await mount.lift()

  assert.ok(!(await readMounts('self')).some(({ mountPoint }) => mountPoint === folder))
})

test('an IPv6 address is written as mount(8) wants it', () => {
  const mount = new NfsMount({ server: '2001:db8::7', export: '/srv', folder: '/nowhere' })
  assert.equal(mount.source, '[2001:db8::7]:/srv')
})
