import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePackageStanzas, parsePrintUris } from './debian-index.ts'

test('a package file is named with the digest to verify it by', () => {
  const sha256 = 'a'.repeat(64)
  const text = `'http://mirror.example/pool/b.deb' busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb 928188 SHA256:${sha256}\n`

  assert.deepEqual(parsePrintUris(text), [
    {
      name: 'busybox-static',
      version: '1:1.35.0-4+deb12u1+b1',
      fileName: 'busybox-static_1%3a1.35.0-4+deb12u1+b1_amd64.deb',
      sizeBytes: 928188,
      sha256,
    },
  ])
})

test('a file without a SHA-256 is no file to use', () => {
  assert.deepEqual(parsePrintUris("'http://a/b.deb' a_1_all.deb 5 MD5Sum:00\n"), [])
})

test('dependencies are read without their versions, the first of alternatives', () => {
  const text = [
    'Package: a',
    'Version: 1',
    'Pre-Depends: init (>= 1)',
    'Depends: libc6 (>= 2.36), libx | liby, libz:any',
    '',
    'Package: b',
    'Version: 2',
    '',
  ].join('\n')

  assert.deepEqual(parsePackageStanzas(text), [
    { name: 'a', version: '1', depends: ['init', 'libc6', 'libx', 'libz'] },
    { name: 'b', version: '2', depends: [] },
  ])
})
