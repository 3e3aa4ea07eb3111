import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CageError } from './cage-error.ts'
import { type CagedProgram, checkProgram, launcherBinds } from './cage-request.ts'
import { launcherMessage, mountFlags } from './launcher-script.ts'

const program: CagedProgram = {
  group: 'vm-1',
  uid: 5,
  gid: 5,
  binary: '/usr/bin/qemu',
  args: [],
  binds: [{ source: '/var/lib/a b\\c#d', place: '/boot/kernel' }],
  limits: { openFiles: 10, processes: 10 },
}

test('what is bound is read-only and runs nothing, unless it may be written', () => {
  const binds = launcherBinds('/t', {
    ...program,
    binds: [
      { source: '/var/lib/a b', place: '/boot/kernel' },
      { source: '/srv', place: '/run/vm', writable: true },
      { source: '/dev/null', place: '/dev/kvm' },
    ],
  })

  const { readOnly, noSetUid, noDevices, noExec } = mountFlags
  assert.deepEqual(binds.slice(0, -1), [
    {
      source: '/var/lib/a b',
      target: '/t/boot/kernel',
      flags: readOnly | noSetUid | noExec | noDevices,
    },
    { source: '/srv', target: '/t/run/vm', flags: noSetUid | noExec | noDevices },
    { source: '/dev/null', target: '/t/dev/kvm', flags: readOnly | noSetUid | noExec },
  ])
})

test('memory is a tmpfs of the program, of whole huge pages, from which nothing runs', () => {
  const binds = launcherBinds('/t', { ...program, memory: { sizeBytes: 17 * 2 ** 20, huge: true } })

  const { noSetUid, noDevices, noExec } = mountFlags
  assert.deepEqual(binds.at(-2), {
    source: 'kvasir-memory',
    target: '/t/memory',
    flags: noSetUid | noDevices | noExec,
    tmpfs: `size=${18 * 2 ** 20},nr_inodes=16,mode=0700,uid=5,gid=5,huge=always`,
  })
})

test('the last mount lies over the root', () => {
  const last = launcherBinds('/t', program).at(-1)

  assert.deepEqual([last?.source, last?.target], ['/t/empty', '/t'])
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

test('every value of a request is a word of its own', () => {
  const message = launcherMessage(
    {
      template: '/t',
      logFifo: '/l',
      serialFifo: undefined,
      uid: 5,
      gid: 6,
      withoutThp: false,
      withoutIoUring: false,
      endsWithDaemon: false,
      binds: [{ source: '/a b', target: '/t/c', flags: 1 }],
      limits: program.limits,
      argv: ['/usr/bin/$(id)', '', 'a\nb'],
    },
    [21],
  )

  const words = message.subarray(4).toString().split('\0')
  assert.equal(message.readUInt32BE(), message.length - 4)
  assert.deepEqual(words.slice(1, 8), ['1', '21', '/t', '/l', '', '5', '6'])
  assert.deepEqual(words.slice(-8), ['1', '/a b', '/t/c', '1', '', '/usr/bin/$(id)', '', 'a\nb'])
})
