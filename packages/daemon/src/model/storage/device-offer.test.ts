/** Devices as lsblk and wipefs of util-linux 2.41 tell of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeDevice } from './device-offer.ts'

const disk = { path: '/dev/vdb', type: 'disk', ro: false, mountpoints: [] as (string | null)[] }
const listed = (...blockdevices: object[]) => ({ blockdevices })

test('an empty disk is free; wipefs says nothing of it', () => {
  assert.deepEqual(judgeDevice(listed(disk), undefined), { kind: 'free' })
  assert.deepEqual(judgeDevice(listed({ ...disk, mountpoints: [null] }), { signatures: [] }), {
    kind: 'free',
  })
})

test('what a disk holds is named', () => {
  const ext4 = { device: 'vdb', offset: '0x438', type: 'ext4', uuid: 'b42835ad', label: 'precious' }
  const gpt = { device: 'vdb', offset: '0x200', type: 'gpt', label: null }
  assert.deepEqual(judgeDevice(listed(disk), { signatures: [ext4, gpt, gpt] }), {
    kind: 'holds',
    what: 'ext4 "precious", gpt',
  })
  const part = { ...disk, path: '/dev/vdb1', type: 'part' }
  assert.deepEqual(judgeDevice(listed({ ...disk, children: [part] }), undefined), {
    kind: 'holds',
    what: '1 partitions',
  })
})

test('what is mounted, swapped to, read-only or under something else is used, its parts too', () => {
  const part = { ...disk, path: '/dev/vdb1', type: 'part' }
  const why = (device: object) => {
    const verdict = judgeDevice(listed(device), undefined)
    return verdict.kind === 'used' ? verdict.why : verdict.kind
  }
  assert.equal(why({ ...disk, mountpoints: ['/', '/home'] }), 'is mounted at /')
  assert.equal(why({ ...disk, mountpoints: ['[SWAP]'] }), 'is swapped to')
  assert.equal(why({ ...disk, ro: true }), 'can only be read')
  assert.equal(
    why({ ...disk, children: [{ ...part, mountpoints: ['/boot'] }] }),
    'is mounted at /boot (/dev/vdb1)',
  )
  const mapped = { ...disk, path: '/dev/mapper/md', type: 'raid1' }
  assert.equal(
    why({ ...disk, children: [{ ...part, children: [mapped] }] }),
    'is used by /dev/mapper/md (raid1)',
  )
  assert.deepEqual(judgeDevice(listed(), undefined), { kind: 'used', why: 'is no block device' })
})
