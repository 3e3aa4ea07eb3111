import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareContents, strangersAmong } from './pool-contents.ts'

test('a file of others is said to be importable only where it has a size that a volume may have', () => {
  const entry = (file: string, sizeBytes: number) => ({
    file,
    volumeId: undefined,
    isVolume: true,
    sizeBytes,
  })

  const findings = compareContents([entry('disk', 1024), entry('empty', 0), entry('odd', 1000)], [])

  assert.deepEqual(
    findings.map(({ detail }) => detail),
    [
      'It is no volume of ours. It can be imported.',
      'It is no volume of ours. It is empty, so it cannot be imported.',
      'It is no volume of ours. It has 1000 bytes, which is no whole number of sectors, so it cannot be imported unless it is a qcow2 file.',
    ],
  )
})

test('what a file of others is inside is said, and only what a volume can be made of is offered', () => {
  const beginning = (length: number, ...parts: readonly (readonly [offset: number, bytes: string])[]) => {
    const bytes = Buffer.alloc(length)
    for (const [offset, text] of parts) bytes.write(text, offset, 'latin1')
    return bytes
  }
  const qcow2 = (...parts: readonly (readonly [offset: number, bytes: string])[]) =>
    beginning(512, [0, 'QFI\xfb\0\0\0\x03'], ...parts)
  const files = new Map([
    ['a.vmdk', beginning(512, [0, 'KDMV'])],
    ['b.vdi', beginning(512, [64, '\x7f\x10\xda\xbe'])],
    ['c.qed', beginning(512, [0, 'QED\0'])],
    ['d.qcow2', qcow2()],
    ['e.qcow2', qcow2([14, '\x01\0'], [16, '\0\0\0\x04'], [256, '/a"b'])],
    ['f.qcow2', qcow2([79, '\x02'])],
    ['g.img', beginning(512)],
    ['h.luks', beginning(512, [0, 'LUKS\xba\xbe'])],
    ['i.qcow2', beginning(20, [0, 'QFI\xfb'])],
  ])
  const entries = [...files.keys()].map((file) => ({
    file,
    volumeId: undefined,
    isVolume: true,
    sizeBytes: 512,
  }))

  const findings = compareContents(entries, [], { beginnings: files })

  const neither =
    'so it is imported neither as raw nor as qcow2; qemu-img convert -O raw makes contents of it.'
  assert.deepEqual(
    findings.map(({ detail }) => detail.replace('It is no volume of ours. ', '')),
    [
      `It is a VMDK image, ${neither}`,
      `It is a VDI image, ${neither}`,
      `It is a QED image, ${neither}`,
      'It is a qcow2 image and can be imported as qcow2.',
      'It is a qcow2 image that lies on another file ("/a\\"b"), so it cannot be imported.',
      'It is a qcow2 image that QEMU has marked as corrupt, so it cannot be imported.',
      'It can be imported as raw.',
      'It is a LUKS container, which can be imported as raw with the secret that opens it.',
      'It begins like a qcow2 image and ends within its header, so it cannot be imported.',
    ],
  )
})

test('where volumes are raw, what begins like an image is told to be imported by force alone', () => {
  const file = 'theirs'
  const entries = [{ file, volumeId: undefined, isVolume: true, sizeBytes: 1024 }]
  const details = ['QFI\xfb', 'LUKS\xba\xbe', 'contents'].map((magic) => {
    const beginnings = new Map([[file, Buffer.from(magic.padEnd(512), 'latin1')]])
    return compareContents(entries, [], { beginnings, formats: ['raw'] })[0]?.detail ?? ''
  })

  assert.match(details[0] ?? '', /begins like a qcow2 image, and volumes here are raw.* by force alone/)
  assert.match(details[1] ?? '', /LUKS container, which can be imported as raw with the secret/)
  assert.match(details[2] ?? '', /It can be imported as raw\.$/)
})

test('only files of others that hold something are looked into', () => {
  const entry = (file: string, changed: object = {}) => ({
    file,
    volumeId: undefined,
    isVolume: true,
    sizeBytes: 512,
    ...changed,
  })

  const found = strangersAmong(
    [
      entry('other.img'),
      entry('known.img'),
      entry('ours.raw', { volumeId: 'id' }),
      entry('folder', { isVolume: false }),
      entry('empty', { sizeBytes: 0 }),
    ],
    [{ file: 'known.img' }, {}],
  )

  assert.deepEqual(found, ['other.img'])
})
