import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAlive, listenForChild, readDescriptors, readMounts, waitUntilGone } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { type CagedProcess, openCages } from './cage.ts'
import { CageError } from './cage-error.ts'
import { cageBreaches, inspectCage } from './inspect-cage.ts'
import { FIRST_DESCRIPTOR, SERIAL_LOG_DESCRIPTOR } from './launcher-script.ts'
import { sealShare } from './share.ts'
import { eventually, openTestCages, TEST_UID, type TestCages, type TestVm } from './testing/test-cages.ts'

const skip = needs('root')
const skipWithoutQemu = needs('root', 'qemu')
const QEMU = '/usr/bin/qemu-system-x86_64'

test('QEMU in a cage answers on the listener it was given and its cage holds', {
  skip: skipWithoutQemu,
}, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')

  const emulator = await launchQemu(test, vm)
  const answer = await answerOf(join(vm.directory, 'qmp.sock'))
  const strangers = await sealShare(vm.share, { uid: TEST_UID, sockets: ['vnc.sock'] })

  assert.match(answer, /"QMP"/)
  assert.deepEqual(strangers, [])
  assert.ok((await stat(join(vm.share, 'vnc.sock'))).isSocket())
  assert.deepEqual(await breachesOf(emulator, vm), [])
  assert.deepEqual(
    await test.cages.groups.processes('vm-a').then((pids) => pids.includes(emulator.pid)),
    true,
  )
})

test('only the descriptors of the request reach the program', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const listener = await listenForChild(join(vm.directory, 'one.sock'))

  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/sleep',
    args: ['60'],
    descriptors: [listener.fd, listener.fd],
  })
  await listener.release()

  const expected = [0, 1, 2, SERIAL_LOG_DESCRIPTOR, FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 1]
  let descriptors: readonly number[] = []
  await eventually(
    async () => {
      descriptors = [...(await readDescriptors(program.pid)).keys()]
      return descriptors.length === expected.length // The loader holds libraries open while the program comes up.
    },
    { timeoutMs: 2_000, otherwise: 'The program has other descriptors than it was given.' },
  )
  assert.deepEqual(descriptors, expected)
})

test('a caged emulator outlives the kill -9 of its daemon and is found by its group', {
  skip: skipWithoutQemu,
}, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const daemon = spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `const { openCages } = await import(${JSON.stringify(new URL('./cage.ts', import.meta.url).href)})
       const cages = await openCages(${JSON.stringify(test.options)})
       const emulator = await cages.launch(${JSON.stringify({ ...vm.request, binary: QEMU, args: ['-machine', 'none', '-S', '-nodefaults', '-display', 'none'] })})
       console.log(JSON.stringify(emulator.identity))
       setInterval(() => {}, 1000)`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const identity = JSON.parse(await firstLine(daemon.stdout))

  daemon.kill('SIGKILL')
  await new Promise((resolve) => daemon.once('exit', resolve))

  assert.equal(await isAlive(identity), true)
  assert.ok((await test.cages.groups.processes('vm-a')).includes(identity.pid))
  await test.cages.groups.kill('vm-a', { timeoutMs: 2_000 })
  assert.equal(await waitUntilGone(identity, { timeoutMs: 1_000 }), true)
})

test('killing a group ends the program, its children and the keepers of its logs', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: ['-e', 'fork for 1..4; setpgrp; sleep 60'],
  })
  await eventually(async () => (await test.cages.groups.processes('vm-a')).length > 8, {
    timeoutMs: 2_000,
    otherwise: 'The program did not fork.',
  })

  await test.cages.groups.remove('vm-a', { timeoutMs: 2_000 })

  assert.deepEqual(await program.exited, { code: undefined, signal: 'SIGKILL' })
  assert.deepEqual(await test.cages.groups.list(), [])
})

test('nothing is started in a group in which something lives', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const sleeper = { ...vm.request, binary: '/usr/bin/sleep', args: ['60'] }
  const first = await test.cages.launch(sleeper)

  await assert.rejects(
    test.cages.launch(sleeper),
    (error) => error instanceof CageError && error.step === 'cgroup',
  )

  assert.equal(await isAlive(first.identity), true)
})

const failures: readonly [string, Partial<Parameters<TestCages['cages']['launch']>[0]>, string, RegExp][] = [
  ['a binary that does not exist', { binary: '/usr/bin/no-such' }, 'exec', /no-such/],
  [
    'a kernel that does not exist',
    { binds: [{ source: '/no/kernel', place: '/boot/kernel' }] },
    'mounts',
    /no\/kernel/,
  ],
  ['a group with a slash', { group: '../vm' }, 'request', /not the name of a group/],
  [
    'a source with a line break',
    { binds: [{ source: '/x\n/ / none', place: '/boot/kernel' }] },
    'request',
    /absolute path/,
  ],
  ['uid 0', { uid: 0 }, 'request', /uid/],
  ['a log directory that does not exist', { directory: '/no/such' }, 'pipes', /no\/such/],
]

for (const [name, change, step, sentence] of failures) {
  test(`${name} fails at step ${step} and leaves nothing`, { skip }, async () => {
    await using test = await openTestCages()
    const vm = await test.vm('a')
    const request = { ...vm.request, binary: '/usr/bin/sleep', args: ['60'], ...change }

    const error = await test.cages.launch(request).then(
      () => undefined,
      (reason: unknown) => reason,
    )

    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.step, step, error.message)
    assert.match(error.message, sentence)
    assert.deepEqual(await test.cages.groups.list(), [])
  })
}

test('a launch that is given up or late is undone', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const request = { ...vm.request, binary: '/usr/bin/sleep', args: ['60'] }
  const giveUp = new AbortController()
  setTimeout(() => giveUp.abort(new Error('given up')), 3)

  await assert.rejects(test.cages.launch(request, giveUp.signal), /given up/)
  await assert.rejects(
    test.cages.launch({ ...request, timeoutMs: 2 }),
    (error) => error instanceof CageError && /deadline/.test(error.message),
  )

  assert.deepEqual(await test.cages.groups.list(), [])
})

test('the template is found again, and made anew when it was half gone', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const root = join(test.directory, 'cage', 'root')
  const countMounts = async () =>
    (await readMounts('self')).filter((mount) => mount.mountPoint.startsWith(root)).length
  const before = await countMounts()

  await openCages(test.options)
  const again = await countMounts()
  const umount = spawn('/usr/bin/umount', ['-l', `${root}/usr`])
  await new Promise((resolve) => umount.once('exit', resolve))
  const repaired = await openCages(test.options)

  assert.equal(again, before)
  assert.equal(await countMounts(), before)
  await repaired.launch({ ...vm.request, binary: '/usr/bin/sleep', args: ['60'] })
})

test('the time that the cage adds to a start', { skip: skipWithoutQemu }, async (t) => {
  await using test = await openTestCages()
  const added: number[] = []
  for (let round = 0; round < 5; round += 1) {
    const vm = await test.vm(`t${round}`)
    test.cages.groups.announce()
    await new Promise((resolve) => setTimeout(resolve, 12))
    const emulator = await launchQemu(test, vm)
    added.push(emulator.steps.at(-1)?.atMs ?? Number.NaN)
    await test.cages.groups.remove(vm.request.group, { timeoutMs: 2_000 })
  }

  const median = added.sort((a, b) => a - b)[2] ?? Number.NaN
  t.diagnostic(`the cage was closed after ${median.toFixed(1)} ms (median of 5)`)
  assert.ok(median < 100, `${median} ms`)
})

async function launchQemu(test: TestCages, vm: TestVm): Promise<CagedProcess> {
  const listener = await listenForChild(join(vm.directory, 'qmp.sock'))
  try {
    return await test.cages.launch({
      ...vm.request,
      binary: QEMU,
      args: [
        '-machine q35,accel=tcg -S -nodefaults -no-user-config -display none -vnc unix:/run/vm/vnc.sock',
        '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
        `-chardev socket,id=m,fd=${FIRST_DESCRIPTOR},server=on,wait=off -mon chardev=m,mode=control`,
        `-add-fd fd=${SERIAL_LOG_DESCRIPTOR},set=1`,
        '-chardev null,id=s,logfile=/dev/fdset/1,logappend=on -serial chardev:s',
      ].flatMap((words) => words.split(' ')),
      descriptors: [listener.fd],
    })
  } finally {
    await listener.release()
  }
}

async function breachesOf(program: CagedProcess, vm: TestVm): Promise<readonly string[]> {
  return cageBreaches(await inspectCage(program.pid), {
    uid: TEST_UID,
    gid: TEST_UID,
    cgroup: program.cgroup,
    binds: vm.request.binds,
    files: [join(vm.directory, 'output.fifo'), join(vm.directory, 'serial.fifo')],
    seccompFilters: 1,
  })
}

/** Says hello and waits for an answer from QEMU's main loop: the greeting alone comes from a thread that runs before VNC is set up. */
function answerOf(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let text = ''
    socket.setTimeout(5_000, () => socket.destroy(new Error('QEMU did not answer.')))
    socket.once('error', reject)
    socket.write('{"execute":"qmp_capabilities"}{"execute":"query-name","id":"last"}')
    socket.on('data', (chunk) => {
      text += chunk.toString('utf8')
      if (!text.includes('"last"')) return
      socket.destroy()
      resolve(text)
    })
  })
}

function firstLine(stream: NodeJS.ReadableStream | null): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    stream?.on('data', (chunk) => {
      text += String(chunk)
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')))
    })
  })
}
