/** What a base is called in the header of what lies on it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { headerName } from './volume-source.ts'

test('a file is named by its path, and a LUN by the URI of QEMU’s tools', () => {
  const options = { portal: '192.0.2.1:3260', target: 'iqn.2026-11.example:a', lun: 1 }
  const lun = { kind: 'protocol', driver: 'iscsi', options, format: 'raw', reach: [] } as const

  assert.equal(headerName({ path: '/a/b.qcow2', format: 'qcow2' }), '/a/b.qcow2')
  assert.equal(headerName(lun), 'iscsi://192.0.2.1:3260/iqn.2026-11.example:a/1')
})

test('a file of an NFS server is named by options, since its client takes no URI beside them', () => {
  const options = { server: { type: 'inet', host: '192.0.2.1' }, path: '/a/b.raw', user: 0, group: 0 }
  const source = { kind: 'protocol', driver: 'nfs', options, format: 'raw', reach: [] } as const

  const name = headerName(source)

  assert.ok(name.startsWith('json:'))
  assert.deepEqual(JSON.parse(name.slice('json:'.length)), {
    driver: 'raw',
    file: { driver: 'nfs', ...options },
  })
})
