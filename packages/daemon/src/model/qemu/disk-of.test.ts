import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cephRefusal, diskOf, fileIn, lockedDisk } from './disk-of.ts'
import type { DiskIds, EmulatorPlan } from './emulator-plan.ts'

const ids: DiskIds = { device: '', node: '', chain: [] }
const plan: Pick<EmulatorPlan, 'ids'> = {
  ids: {
    ioThreads: [],
    disks: { root: ids, data: ids },
    nics: {},
    vncSocketName: undefined,
  },
}

test('nodes and objects of a disk are known by their ids', () => {
  assert.equal(diskOf('disk-data', plan), 'data')
  assert.equal(diskOf('sec.base3-root', plan), 'root')
  assert.equal(diskOf('layer-0123', plan), undefined)
})

test('the disk that is closed to its secret is the one of the node that QEMU could not open', () => {
  const line = (node: string) =>
    `qemu-system-x86_64: -blockdev {"node-name":"${node}","driver":"qcow2","file":"file-x"}: Invalid password, cannot unlock any keyslot`

  assert.equal(lockedDisk(`one\n${line('disk-data')}\n`, plan), 'data')
  assert.equal(lockedDisk(line('base2-root'), plan), 'root')
  assert.equal(lockedDisk('qemu: Invalid password, cannot unlock any keyslot', plan), '')
  assert.equal(lockedDisk('qemu: -blockdev {"node-name":"disk-data"}: Permission denied', plan), undefined)
})

test('an image that Ceph does not let QEMU open is told with its disk, its place and its user', () => {
  const options =
    '{"driver":"rbd","node-name":"file-data","pool":"rbd","namespace":"words","image":"one","user":"kvasir","server":[{"host":"127.0.0.1","port":"6789"}]}'
  const line = `2026-11-22T07:03:17Z qemu-system-x86_64: -blockdev ${options}: error reading header from one: Operation not permitted`

  assert.deepEqual(cephRefusal(`before\n${line}`, plan), {
    disk: 'data',
    place: 'rbd/words',
    image: 'one',
    user: 'kvasir',
    words: 'Operation not permitted',
    isForbidden: true,
  })
  assert.equal(cephRefusal(line.replace('not permitted', 'timed out'), plan)?.isForbidden, false)
  assert.equal(cephRefusal('qemu: -blockdev {"driver":"qcow2"}: error: Permission denied', plan), undefined)
})

test('the file that QEMU could not lock is the one whose descriptor has the number of its set', () => {
  const file = { kind: 'file', path: '/srv/data.raw', access: 'read-write', direct: true } as const
  const descriptors = [{ kind: 'listener', socket: 'monitor' }, file] as const
  const line =
    'qemu: -device {"drive":"disk-data"}: Failed to get "write" lock; Is another process using the image [/dev/fdset/11]?'

  assert.equal(fileIn(line, { descriptors }), file)
  assert.equal(fileIn(line.replace('11', '10'), { descriptors }), undefined)
  assert.equal(fileIn('Failed to get "write" lock', { descriptors }), undefined)
})
