import assert from 'node:assert/strict'
import { test } from 'node:test'
import { damagedFile, qcow2Damage, qcow2FilesOf } from './damaged-disk.ts'

const file = { kind: 'file', path: '/srv/data.qcow2', access: 'read-write', direct: true } as const
const base = { ...file, path: '/srv/base.qcow2', access: 'read' } as const
const argv = [
  '-add-fd',
  'fd=11,set=11,opaque=file-data',
  '-blockdev',
  '{"driver":"file","node-name":"file-data","filename":"/dev/fdset/11"}',
  '-blockdev',
  '{"driver":"file","node-name":"base1file-data","filename":"/dev/fdset/12"}',
]
const plan = { argv, descriptors: [{ kind: 'listener', socket: 'monitor' } as const, file, base] }

const line = (node: string, storage: string, words: string) =>
  `2026-11-22T07:03:17Z qemu-system-x86_64: -blockdev {"driver":"qcow2","node-name":"${node}","file":"${storage}","backing":null,"cache":{"direct":false}}: ${words}`

test('the damaged file is the one of the node that QEMU could not open, with what is wrong and what helps', () => {
  const found = damagedFile(`before\n${line('disk-data', 'file-data', 'Image is not in qcow2 format')}`, plan)

  assert.deepEqual(found, {
    node: 'disk-data',
    path: '/srv/data.qcow2',
    damage: { why: 'does not begin as a qcow2 file does', remedy: 'restore' },
  })
  const below = damagedFile(
    line('base1-data', 'base1file-data', 'qcow2: Image is corrupt; cannot be opened read/write'),
    plan,
  )
  assert.deepEqual([below?.path, below?.damage.remedy], ['/srv/base.qcow2', 'repair'])
})

test('the qcow2 files of a plan are those under nodes of that format', () => {
  const formats = [
    '{"driver":"qcow2","node-name":"disk-data","file":"file-data"}',
    '{"driver":"raw","node-name":"base1-data","file":"base1file-data"}',
    '{"driver":"qcow2","node-name":"far","file":"elsewhere"}',
  ]
  const found = qcow2FilesOf({ ...plan, argv: [...argv, ...formats.flatMap((one) => ['-blockdev', one])] })

  assert.deepEqual(found, [{ node: 'disk-data', file }])
})

test('what QEMU says of anything else is left as it is', () => {
  const lines = [
    line('disk-data', 'file-data', 'Invalid password, cannot unlock any keyslot'),
    line('disk-data', 'file-data', 'Input/output error').replace('qcow2', 'raw'),
    'qemu: -blockdev {"driver":"raw","node-name":"disk-data"}: Image is not in qcow2 format',
    'qemu: -blockdev {"driver":"qcow2"',
    '',
  ]

  assert.deepEqual(
    lines.map((one) => damagedFile(one, plan)),
    lines.map(() => undefined),
  )
})

test('each sentence of QEMU on a header that is not sound has one of ours', () => {
  const sentences = {
    'qcow2 header too short': 'restore',
    'qcow2 header exceeds cluster size': 'restore',
    'Header extension too large': 'restore',
    'Unsupported qcow2 version 9': 'restore',
    'Unsupported cluster size: 2^40': 'restore',
    'Unsupported encryption method 7': 'restore',
    'Unsupported qcow2 feature(s): Unknown incompatible feature: 10000000000': 'restore',
    'qcow2: unknown compression type: 104': 'restore',
    'Image is too big': 'restore',
    'Invalid backing file offset': 'restore',
    "'data-file' is required for this image": 'restore',
    'Active L1 table offset invalid': 'restore',
    'L1 table is too small': 'restore',
    'Reference count entry width too large; may not exceed 64 bits': 'restore',
    'Reference count table too large': 'restore',
    'Reference count table offset invalid': 'restore',
    'Could not initialize refcount handling': 'restore',
    'Snapshot table offset invalid': 'restore',
    'Snapshot table too large': 'repair',
    'Image does not contain a reference count table': 'repair',
    'qcow2: Image is corrupt; cannot be opened read/write': 'repair',
  }

  const found = Object.keys(sentences).map((words) => [words, qcow2Damage(words)?.remedy])

  assert.deepEqual(Object.fromEntries(found), sentences)
})
