import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { lacking } from '../../../../../tools/require.ts'
import { type CpioEntry, writeCpio } from './cpio.ts'

const entries: readonly CpioEntry[] = [
  { kind: 'file', path: 'bin/busybox', mode: 0o755, content: Buffer.from('12345') },
  { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
  { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
]

test('cpio itself lists what was written, with parents, modes and devices', (context) => {
  let listing: string
  try {
    listing = execFileSync('cpio', ['-itv', '--quiet', '--numeric-uid-gid'], {
      input: writeCpio(entries),
      encoding: 'utf8',
      env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
    })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    process.stderr.write('SKIPPED for want of cpio: the archive writer is checked by its form only\n')
    context.skip(lacking('oracle', 'cpio, which reads what was written, is not installed'))
    return
  }

  const lines = listing.trim().split('\n')
  assert.equal(lines.length, 5)
  assert.match(lines[0] ?? '', /^drwxr-xr-x .* 0 {2,}0 .* bin$/)
  assert.match(lines[1] ?? '', /^-rwxr-xr-x .* 5 Jan {2}1 {2}1970 bin\/busybox$/)
  assert.match(lines[2] ?? '', /^lrwxrwxrwx .* bin\/sh -> busybox$/)
  assert.match(lines[4] ?? '', /^crw------- .* 5, {3}1 .* dev\/console$/)
})

test('every record begins at a multiple of four and the archive ends with the trailer', () => {
  const archive = Buffer.from(writeCpio(entries))

  const records = [...archive.toString('latin1').matchAll(/070701[0-9a-f]{104}/g)].map(({ index }) => index)
  assert.equal(records.length, 6)
  assert.ok(records.every((at) => at % 4 === 0))
  assert.match(archive.toString('latin1'), /TRAILER!!!\0+$/)
})

test('a path that is absolute, climbs or comes twice is refused', () => {
  const write = (...paths: readonly string[]): Uint8Array =>
    writeCpio(paths.map((path) => ({ kind: 'file', path, mode: 0o644, content: Buffer.alloc(0) })))

  for (const path of ['/etc/passwd', '../a', 'a/../b', 'a//b', '', 'a\0b']) {
    assert.throws(() => write(path), RangeError, path)
  }
  assert.throws(() => write('a', 'a'), /twice/)
})
