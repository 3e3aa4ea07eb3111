import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { isAlive } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { keepLogs, readCappedLog, removeCappedLog } from './capped-log.ts'
import { startLauncher } from './launchers.ts'
import { eventually, openTestCages } from './testing/test-cages.ts'

const skip = needs('root')

test('a flood of output fills no more than the cap, ends no program and keeps the newest lines', {
  skip,
}, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: ['-e', '$|=1; print "line $_ ".("x" x 90)."\\n" for 1..60000; print "the end\\n"; sleep 60'],
  })

  await eventually(async () => (await vm.log()).includes('the end'), {
    timeoutMs: 10_000,
    otherwise: 'The end of the flood is not in the log.',
  })

  const { output, capBytes } = vm.request.logs
  const sizes = await Promise.all([output, `${output}.1`].map(async (path) => (await stat(path)).size))
  assert.ok(
    sizes.every((size) => size <= capBytes / 2),
    `sizes ${sizes.join(' ')}`,
  )
  assert.equal(await isAlive(program.identity), true)
})

test('what is written to the serial log descriptor is in its file at once', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: ['-e', 'open(my $s, ">&=", 4) or die; syswrite $s, "login: "; sleep 60'],
  })

  const serial = vm.request.logs.serial ?? ''
  await eventually(async () => Buffer.from(await readCappedLog(serial, 100)).toString() === 'login: ', {
    timeoutMs: 2_000,
    otherwise: 'The prompt is not in the serial log.',
  })
})

test('a program goes on when the keepers of its logs are killed, and new ones keep what comes then', {
  skip,
}, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: [
      '-e',
      '$SIG{PIPE}="IGNORE"; while (1) { syswrite STDOUT, "tick\\n"; select undef, undef, undef, 0.01 }',
    ],
  })
  const { output, capBytes } = vm.request.logs
  const keepers = (await test.cages.groups.processes('vm-a')).filter((pid) => pid !== program.pid)

  for (const pid of keepers) process.kill(pid, 'SIGKILL')
  await new Promise((resolve) => setTimeout(resolve, 100))
  await removeCappedLog(output)
  const { launcher } = startLauncher({ output: 'ignore', descriptors: [], keepsLogs: true })
  await keepLogs(launcher?.keeper, [{ fifo: `${vm.directory}/output.fifo`, file: output }], {
    cgroup: program.cgroup,
    capBytes,
  })
  if (launcher) process.kill(launcher.pid)

  await eventually(async () => (await vm.log()).includes('tick'), {
    timeoutMs: 2_000,
    otherwise: 'The new keeper keeps nothing.',
  })
  assert.equal(await isAlive(program.identity), true)
})

test('a log that cannot be written is dropped and its program goes on', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('a')
  const output = `${vm.directory}/no-such-folder/output.log`
  const program = await test.cages.launch({
    ...vm.request,
    logs: { ...vm.request.logs, output },
    binary: '/usr/bin/perl',
    args: [
      '-e',
      '$|=1; print "x" x 4096 for 1..1000; open(my $s, ">&=", 4) or die; syswrite $s, "through"; sleep 60',
    ],
  })

  const serial = vm.request.logs.serial ?? ''
  await eventually(async () => Buffer.from(await readCappedLog(serial, 100)).toString() === 'through', {
    timeoutMs: 5_000,
    otherwise: 'The program waits for its log.',
  })
  assert.equal(await isAlive(program.identity), true)
  assert.ok(!(await readdir(dirname(dirname(output)))).includes('no-such-folder'))
})
