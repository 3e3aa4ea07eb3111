import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bareArgv } from './bare-argv.ts'

test('paths of the cage become paths of the host, in options of either form', () => {
  const { argv } = bareArgv(['-kernel', '/boot/kernel', '-drive', '{"file":"/run/vm/a.sock"}'], {
    '/boot/kernel': '/images/vmlinuz',
    '/run/vm/': '/tmp/bench/',
  })

  assert.deepEqual(argv, ['-kernel', '/images/vmlinuz', '-drive', '{"file":"/tmp/bench/a.sock"}'])
})

test('listening sockets become connected ones at the same descriptors', () => {
  const { argv, descriptors } = bareArgv(
    [
      '-chardev',
      'socket,id=serial,fd=12,server=on,wait=off,logfile=/dev/fdset/4,logappend=on',
      '-add-fd',
      'fd=13,set=13,opaque=file-root',
    ],
    {},
  )

  assert.equal(argv[1], 'socket,id=serial,fd=12,logfile=/dev/fdset/4,logappend=on')
  assert.deepEqual(descriptors, [
    { fd: 12, kind: 'socket', label: 'serial' },
    { fd: 13, kind: 'file', label: 'file-root' },
  ])
})

test('the connected socket of a NIC is found', () => {
  const { descriptors } = bareArgv(
    ['-netdev', '{"type":"stream","id":"net-net0","server":false,"addr":{"type":"fd","str":"14"}}'],
    {},
  )

  assert.deepEqual(descriptors, [{ fd: 14, kind: 'nic', label: 'nic' }])
})
