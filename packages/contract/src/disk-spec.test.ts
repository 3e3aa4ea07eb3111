/** What a disk may say, and what contradicts itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskSpec, ioThreadsOf } from './disk-spec.ts'
import { vmSpec } from './vm-spec.ts'

const cd = { name: 'cd', device: 'cdrom', bus: 'sata' } as const

test('fields that contradict each other are refused', () => {
  const refused = [
    { aio: 'native', cache: 'writeback' },
    { detectZeroes: 'unmap', discard: 'ignore' },
    { shareable: true, cache: 'unsafe' },
    { shareable: true, image: 'debian' },
    { shareable: true, size: '1GiB', format: 'qcow2' },
    { size: '1GiB', format: 'vmdk' },
    { controller: 'shelf' },
    { bus: 'sata', queues: 2 },
    { bus: 'sata', ioThread: 'pair' },
    { file: '/srv/a.iso' },
    { device: 'cdrom' },
    { ...cd, size: '1GiB' },
    { ...cd, volume: 'a', format: 'raw' },
    { ...cd, volume: 'a', file: '/srv/a.iso' },
    { ...cd, file: '../a.iso' },
  ]
  for (const fields of refused)
    assert.equal(diskSpec.safeParse({ name: 'd', ...fields }).success, false, JSON.stringify(fields))
  assert.equal(diskSpec.safeParse({ ...cd, file: '/srv/a.iso' }).success, true)
})

test('disks of one controller say the same of its I/O thread and queues', () => {
  const lun = (name: string, more: object) => ({ name, bus: 'virtio-scsi', controller: 'shelf', ...more })
  assert.equal(vmSpec.safeParse({ disks: [lun('a', {}), lun('b', { queues: 2 })] }).success, false)
  assert.equal(vmSpec.safeParse({ disks: [lun('a', {}), lun('b', { ioThread: false })] }).success, false)
  const { disks } = vmSpec.parse({ disks: [lun('a', {}), lun('b', {})] })
  assert.deepEqual(ioThreadsOf(disks), ['shelf'])
})

test('an I/O thread is a disk’s own, or one that disks name', () => {
  const { disks } = vmSpec.parse({
    disks: [{ name: 'a' }, { name: 'b', ioThread: 'pair' }, { name: 'c', ioThread: 'pair' }, { ...cd }],
  })
  assert.deepEqual(ioThreadsOf(disks), ['a', 'pair'])
})
