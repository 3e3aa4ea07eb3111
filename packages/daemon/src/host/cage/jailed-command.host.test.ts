import assert from 'node:assert/strict'
import { chown, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runCommand } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import type { JailedCommand } from './jailed-command.ts'
import { openTestCages, TEST_UID, type TestCages } from './testing/test-cages.ts'

const skip = needs('root')
const skipWithoutQemu = needs('root', 'qemu')

test('qemu-img inspects and converts in the jail', { skip: skipWithoutQemu }, async () => {
  await using test = await openTestCages()
  const image = join(test.directory, 'in.qcow2')
  await runCommand(['qemu-img', 'create', '-q', '-f', 'qcow2', image, '8M'], { timeoutMs: 10_000 })
  const outputDirectory = await makeOutput(test)

  const info = await run(test, { args: ['info', '--output=json', '-f', 'qcow2', '/in/0'], inputs: [image] })
  const convert = await run(test, {
    args: ['convert', '-f', 'qcow2', '-O', 'raw', '/in/0', '/out/disk.raw'],
    inputs: [image],
    outputDirectory,
  })

  assert.equal(JSON.parse(info.stdout)['virtual-size'], 8 * 1024 * 1024)
  assert.deepEqual(convert.exit, { code: 0, signal: undefined }, convert.stderr)
  assert.deepEqual(await readdir(outputDirectory), ['disk.raw'])
  assert.deepEqual(await test.cages.groups.list(), [])
})

test('an image whose backing file is a file of the host copies nothing of it', {
  skip: skipWithoutQemu,
}, async () => {
  await using test = await openTestCages()
  const image = join(test.directory, 'evil.qcow2')
  const create = [
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-F',
    'raw',
    '-b',
    '/etc/passwd',
    image,
    '1M',
  ]
  await runCommand(create, { timeoutMs: 10_000 })
  const outputDirectory = await makeOutput(test)

  const convert = await run(test, {
    args: ['convert', '-f', 'qcow2', '-O', 'raw', '/in/0', '/out/disk.raw'],
    inputs: [image],
    outputDirectory,
  })

  assert.equal(convert.exit.code, 1)
  assert.match(convert.stderr, /No such file or directory/)
})

test('a command that does not end is killed when its time is over, with its children', { skip }, async () => {
  await using test = await openTestCages()

  const result = await run(test, {
    binary: '/usr/bin/perl',
    args: ['-e', 'fork; fork; sleep 60'],
    timeoutMs: 500,
  })

  assert.equal(result.killed, 'timeout')
  assert.deepEqual(await test.cages.groups.list(), [])
})

test('a command that prints without end is killed and its output cut', { skip }, async () => {
  await using test = await openTestCages()

  const result = await run(test, { binary: '/usr/bin/yes', args: [], outputBytes: 10_000 })

  assert.equal(result.killed, 'output')
  assert.equal(result.stdout.length, 10_000)
})

test('memory, CPU time and file size are limited', { skip }, async () => {
  await using test = await openTestCages()
  const outputDirectory = await makeOutput(test)
  const perl = (text: string) => ({ binary: '/usr/bin/perl', args: ['-e', text], outputDirectory })

  const memory = await run(test, perl('my $x = "x" x (1 << 30); print "got it"'))
  const time = await run(test, { ...perl('1 while 1'), cpuSeconds: 1 })
  const file = await run(test, {
    ...perl('open(F, ">", "/out/big") or die; print F "x" x 65536 for 1..64; close F; print "got it"'),
    fileSizeBytes: 1024 * 1024,
  })

  assert.doesNotMatch(memory.stdout, /got it/)
  assert.ok(['SIGXCPU', 'SIGKILL'].includes(time.exit.signal ?? ''))
  assert.equal(file.exit.signal, 'SIGXFSZ')
})

test('a command without our permission to write cannot write its input', { skip }, async () => {
  await using test = await openTestCages()
  const input = join(test.directory, 'input')
  await writeFile(input, 'data', { mode: 0o666 })

  const result = await run(test, {
    binary: '/usr/bin/perl',
    args: [
      '-e',
      'open(F, "<", "/in/0") or die; print <F>; open(F, ">>", "/in/0") and print "WROTE"; print "$!"',
    ],
    inputs: [input],
  })

  assert.match(result.stdout, /^data(Read-only file system|Permission denied)$/)
})

async function makeOutput(test: TestCages): Promise<string> {
  const path = join(test.directory, 'out')
  await mkdir(path, { mode: 0o700 })
  await chown(path, TEST_UID, TEST_UID)
  return path
}

function run(test: TestCages, change: Partial<JailedCommand>) {
  return test.cages.runJailed({
    group: 'job-test',
    uid: TEST_UID,
    gid: TEST_UID,
    binary: '/usr/bin/qemu-img',
    args: [],
    inputs: [],
    timeoutMs: 10_000,
    addressSpaceBytes: 512 * 1024 * 1024,
    cpuSeconds: 10,
    fileSizeBytes: 64 * 1024 * 1024,
    outputBytes: 64 * 1024,
    ...change,
  })
}
