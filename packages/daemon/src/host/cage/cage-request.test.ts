import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CageError } from './cage-error.ts'
import { type CagedProgram, checkProgram, fstabOf } from './cage-request.ts'
import { launcherArgv } from './launcher-script.ts'

const program: CagedProgram = {
  group: 'vm-1',
  uid: 5,
  gid: 5,
  binary: '/usr/bin/qemu',
  args: [],
  binds: [{ source: '/var/lib/a b\\c#d', place: '/boot/kernel' }],
  limits: { openFiles: 10, processes: 10 },
}

test('paths with blanks, backslashes and hashes stay one field of the fstab', () => {
  const [line] = fstabOf('/run/k/root', program.binds)

  assert.equal(
    line,
    '/var/lib/a\\040b\\134c\\043d /run/k/root/boot/kernel none bind,ro,nosuid,noexec,nodev 0 0',
  )
})

test('the last mount lies over the root', () => {
  assert.match(fstabOf('/t', []).at(-1) ?? '', /^\/t\/empty \/t none bind,ro/)
})

const bad: readonly [string, Partial<CagedProgram>][] = [
  ['a group that leaves its place', { group: '..' }],
  ['a group with a slash', { group: 'a/b' }],
  ['an empty group', { group: '' }],
  ['uid 0', { uid: 0 }],
  ['a uid that is -1 to the kernel', { uid: 2 ** 32 - 1 }],
  ['a gid with a fraction', { gid: 1.5 }],
  ['a relative binary', { binary: 'qemu' }],
  ['a NUL in an argument', { args: ['a\0b'] }],
  ['a source with a line break', { binds: [{ source: '/a\nb', place: '/boot/kernel' }] }],
  ['a source that climbs', { binds: [{ source: '/a/../b', place: '/boot/kernel' }] }],
  ['a negative limit', { limits: { openFiles: -1, processes: 1 } }],
  ['a limit that is no number', { limits: { openFiles: Number.NaN, processes: 1 } }],
]

for (const [name, change] of bad) {
  test(`${name} is refused`, () => {
    assert.throws(
      () => checkProgram({ ...program, ...change }),
      (error) => error instanceof CageError && error.step === 'request',
    )
  })
}

test("no value of a request becomes part of the launcher's text", () => {
  const argv = (binary: string) =>
    launcherArgv({
      template: '/t',
      logFifo: '/l',
      serialFifo: undefined,
      uid: 5,
      gid: 5,
      fstab: [],
      limits: program.limits,
      argv: [binary],
    })
  const text = (words: readonly string[]) => words[words.indexOf('-c') + 1]

  assert.equal(text(argv('/usr/bin/$(id)')), text(argv('/usr/bin/qemu')))
})
