/** That servers can be given to a program that runs, by a connector that comes late or again. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { identifyProcess, readDescriptors, readNamespaces } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import { ensureConnector, findConnector, listenerName } from './connectors.ts'
import { cageBreaches, inspectCage } from './inspect-cage.ts'
import { at, forever, listen, unreachable } from './testing/knocking.ts'
import { eventually, openTestCages, TEST_UID, type TestCages, type TestVm } from './testing/test-cages.ts'

const skip = needs('root')

test('a long-lived program finds what its file says at that moment, its cage holds, and its connector ends with it', {
  skip,
}, async () => {
  await using test = await openTestCages()
  await using storage = await listen('storage')
  const vm = await test.vm('reach')
  const file = join(vm.directory, 'reach')
  await writeFile(file, '')

  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: ['-e', forever, '127.0.0.1', String(storage.port)],
    reach: { allowed: [], file },
  })
  await said(vm, unreachable)
  await writeFile(file, `127.0.0.1 32 ${storage.port} ${storage.port} 0\n`)
  await said(vm, 'storage for 127.0.0.1')

  const connector = await connectorOf(test, vm)
  const [own, host] = await Promise.all([readNamespaces(program.pid), readNamespaces('self')])
  assert.notEqual(own['net'], host['net'])
  assert.equal((await readNamespaces(connector))['net'], host['net'])
  const expected = {
    uid: TEST_UID,
    gid: TEST_UID,
    cgroup: program.cgroup,
    binds: vm.request.binds,
    files: [],
    seccompFilters: 1,
  } as const
  const breaches = cageBreaches(await inspectCage(program.pid), expected)
  assert.deepEqual(
    breaches.filter((breach) => !/open \(|fifo/.test(breach)),
    [],
  )

  process.kill(program.pid, 'SIGKILL')
  await eventually(async () => (await identifyProcess(connector)) === undefined, {
    timeoutMs: 30_000,
    otherwise: 'The connector outlives its program.',
  })
})

test('without its connector a program waits, and goes on with the next one', { skip }, async () => {
  await using test = await openTestCages()
  await using storage = await listen('storage')
  await using other = await listen('other')
  const vm = await test.vm('orphan')
  const reach = { allowed: [at(storage)] }
  const { groups } = test.cages
  const { group } = vm.request
  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: ['-e', forever, '127.0.0.1', String(other.port), '127.0.0.1', String(storage.port)],
    reach,
  })
  await said(vm, 'storage for 127.0.0.1')
  const former = await connectorOf(test, vm)
  process.kill(former, 'SIGKILL')
  await eventually(async () => (await findConnector({ groups, group })) === undefined, {
    timeoutMs: 30_000,
    otherwise: 'The connector does not end.',
  })
  const before = connections(await vm.log())

  assert.equal(await ensureConnector({ groups, group, pid: program.pid, reach }), undefined)

  assert.notEqual(await connectorOf(test, vm), former)
  await eventually(async () => connections(await vm.log()) > before + 1, {
    timeoutMs: 60_000,
    otherwise: 'It reaches its server no more.',
  })
  assert.doesNotMatch(await vm.log(), /other for/)
})

test('can be given to a program that was started without, which has no hold on it and reached nothing before', {
  skip,
}, async () => {
  await using test = await openTestCages()
  await using storage = await listen('storage')
  await using other = await listen('other')
  const vm = await test.vm('late')
  const { groups } = test.cages
  const { group } = vm.request
  const unix = `socket my $unix, 1, 1, 0; connect $unix, pack('Sa108', 1, '/run/nobody'); $| = 1; print "unix ", $! + 0, "\n";`
  const program = await test.cages.launch({
    ...vm.request,
    binary: '/usr/bin/perl',
    args: ['-e', `${unix} ${forever}`, '127.0.0.1', String(other.port), '127.0.0.1', String(storage.port)],
    withoutIoUring: true,
  })
  await said(vm, 'unix 101')
  await program.logged
  assert.equal(await findConnector({ groups, group }), undefined)
  const descriptors = [...(await readDescriptors(program.pid)).values()]
  assert.ok(!descriptors.includes(listenerName), descriptors.join(' '))

  const reach = { allowed: [at(storage)] }
  assert.equal(await ensureConnector({ groups, group, pid: program.pid, reach }), undefined)

  await said(vm, 'storage for 127.0.0.1')
  assert.ok((await vm.log()).startsWith(`unix 101\n${unreachable}\nstorage for 127.0.0.1\n`))
})

test('is nothing where the keeper of the listener is gone, and the program runs on', { skip }, async () => {
  await using test = await openTestCages()
  const vm = await test.vm('none')
  const { groups } = test.cages
  const { group } = vm.request
  const { pid, logged } = await test.cages.launch({ ...vm.request, binary: '/usr/bin/sleep', args: ['300'] })
  await logged
  const endKeepers = async () => {
    const keepers = (await groups.processes(group)).filter((one) => one !== pid)
    for (const keeper of keepers) kill(keeper)
    return keepers.length === 0
  }
  await eventually(endKeepers, { timeoutMs: 60_000, otherwise: 'The keepers of its logs do not end.' })

  const why = await ensureConnector({ groups, group, pid, reach: { allowed: [] } })

  assert.equal(why, 'nobody has the listener of its connects')
})

/** Becomes a program whose system calls are supervised, as those of a container may be: the kernel gives no second listener. */
const supervised = `
my $number = shift @ARGV; my $allow = pack 'SCCL', 6, 0, 0, 0x7fff0000;
my $listener = syscall $number + 0, 1, 8, pack 'Sx6P', 1, $allow;
$listener == -1 and die "$!"; require Fcntl; open my $kept, '+<&=', $listener; fcntl $kept, 2, 0;
exec @ARGV or die`

test('is nothing where system calls are supervised already, and a program without servers is started there', {
  skip,
}, async () => {
  const script = join(import.meta.dirname, 'testing', 'supervised-program.ts')
  const number = process.arch === 'x64' ? '317' : '277' // seccomp(2)
  const node = [process.execPath, '--disable-warning=ExperimentalWarning']
  const run = spawnSync('/usr/bin/perl', ['-e', supervised, number, ...node, script], {
    encoding: 'utf8',
    timeout: 120_000,
  })

  assert.equal(run.stderr, '')
  assert.deepEqual(run.stdout.trim().split('\n'), [
    'without: alive, nobody has the listener of its connects',
    'with: Nobody can connect to servers for the program, so it was ended: nobody has the listener of its connects.',
  ])
})

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended with another.
  }
}

function connections(log: string): number {
  return log.split('storage for').length - 1
}

async function connectorOf({ cages: { groups } }: TestCages, vm: TestVm): Promise<number> {
  const pid = await findConnector({ groups, group: vm.request.group })
  assert.ok(pid !== undefined, 'Nobody connects for the program.')
  return pid
}

async function said(vm: { log(): Promise<string> }, words: string): Promise<void> {
  await eventually(async () => (await vm.log()).includes(words), {
    timeoutMs: 60_000,
    otherwise: `The program never said "${words}".`,
  })
}
