/** That a caged program reaches the servers that it was given, and nothing else of this machine. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { identifyProcess, readNamespaces } from '@kvasir/linux'
import { needs } from '../../../../../tools/require.ts'
import type { Reach } from '../../model/storage/reach.ts'
import { cageBreaches, inspectCage } from './inspect-cage.ts'
import type { CageReach } from './launcher-script.ts'
import { eventually, openTestCages, TEST_UID, type TestCages, type TestVm } from './testing/test-cages.ts'

const skip = needs('root')

/** Connects to each `address port` and says what came of it: what the server sent, or the number of the error. */
const knocker = `
use Socket qw(inet_pton);
while (@ARGV) {
    my ($host, $port) = splice @ARGV, 0, 2;
    my $six = $host =~ /:/;
    my $address = $six ? pack('SnNa16N', 10, $port, 0, inet_pton(10, $host), 0) : pack('Sna4x8', 2, $port, inet_pton(2, $host));
    socket my $socket, $six ? 10 : 2, 1, 0;
    if (connect $socket, $address) { sysread $socket, my $said, 100; print "$said\\n" } else { print "error ", $! + 0, "\\n" }
}`

/** The same over and over. */
const forever = knocker.replace(
  'while (@ARGV) {',
  'my @all = @ARGV; $| = 1; while (1) { @ARGV or @ARGV = @all; select undef, undef, undef, 0.05;',
)

/** ENETUNREACH: what an empty network namespace says. */
const unreachable = 'error 101'

describe('the reach of a caged program', { skip }, () => {
  test('is the address and port that it was given, and no other port of the same machine', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')
    await using other = await listen('other')

    const said = await knock(test, [at(storage)], ['127.0.0.1', storage.port, '127.0.0.1', other.port])

    assert.deepEqual(said, [`storage for 127.0.0.1`, unreachable])
  })

  test('a connection that is asked for again is the same one, as Ceph asks whether it stands', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')
    const again = knocker.replace(
      'if (connect $socket, $address) {',
      'if (connect $socket, $address) { print connect($socket, $address) || $! == 106 ? "still " : "lost ";',
    )

    const said = await knockAs(again, test, {
      allowed: [at(storage)],
      args: ['127.0.0.1', storage.port],
    })

    assert.deepEqual(said, ['still storage for 127.0.0.1'])
  })

  test('a connection is never taken apart to be made to somewhere else', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')
    await using other = await listen('other')
    const elsewhere = `pack('Sna4x8', 2, ${other.port}, inet_pton(2, '127.0.0.1'))`
    const turned = knocker.replace(
      'if (connect $socket, $address) {',
      `if (connect $socket, $address) { connect $socket, "\\0" x 16; connect $socket, ${elsewhere}; print $! + 0, " ";`,
    )

    const said = await knockAs(turned, test, {
      allowed: [at(storage)],
      args: ['127.0.0.1', storage.port],
    })

    assert.deepEqual(said, ['101 storage for 127.0.0.1'])
  })

  test('is not widened by what connects without connect(2)', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')
    const sly = knocker.replace(
      'if (connect $socket, $address) {',
      `send($socket, 'x', 0x20000000, $address); print $! + 0, ' ';
       syscall(425, 1, 0); print $! + 0, ' ';
       if (connect $socket, $address) {`,
    )

    const said = await knockAs(sly, test, { allowed: [at(storage)], args: ['127.0.0.1', storage.port] })

    const [fastOpen, ring] = (said[0] ?? '').split(' ')
    assert.deepEqual([fastOpen, ring], ['95', '38'])
    assert.match(said[0] ?? '', /storage for 127\.0\.0\.1$/)
  })

  test('is nothing for a program that was given none', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')

    assert.deepEqual(await knock(test, undefined, ['127.0.0.1', storage.port]), [unreachable])
    assert.deepEqual(await knock(test, [], ['127.0.0.1', storage.port]), [unreachable])
  })

  test('may be a range of ports of a network, over IPv6 too', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage', '::1')
    const range = { firstPort: storage.port - 1, lastPort: storage.port + 1 }

    const within = await knock(test, [{ address: '::/64', ...range }], ['::1', storage.port])
    const beside = await knock(test, [{ address: '::2/127', ...range }], ['::1', storage.port])

    assert.deepEqual(within, ['storage for ::1'])
    assert.match(beside[0] ?? '', /^error/)
  })

  test('is over a port below 1024 where the server asks for that', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')

    await knock(test, [{ ...at(storage), fromReservedPort: true }], ['127.0.0.1', storage.port])

    assert.ok((storage.lastPeerPort() ?? 65_535) < 1024, `from port ${storage.lastPeerPort()}`)
  })

  test('a server that is not there is told as it is', async () => {
    await using test = await openTestCages()
    const gone = await listen('gone')
    await gone[Symbol.asyncDispose]()

    assert.deepEqual(await knock(test, [at(gone)], ['127.0.0.1', gone.port]), ['error 111'])
  })

  test('a long-lived program finds what its file says at that moment, its cage holds, and its connector ends with it', async () => {
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

  test('without its connector a program reaches nothing more', async () => {
    await using test = await openTestCages()
    await using storage = await listen('storage')
    const vm = await test.vm('orphan')

    await test.cages.launch({
      ...vm.request,
      binary: '/usr/bin/perl',
      args: ['-e', forever, '127.0.0.1', String(storage.port)],
      reach: { allowed: [at(storage)] },
    })
    await said(vm, 'storage for 127.0.0.1')
    process.kill(await connectorOf(test, vm), 'SIGKILL')

    await said(vm, 'error 38') // ENOSYS: seccomp_unotify(2).
  })
})

async function connectorOf({ cages }: TestCages, vm: TestVm): Promise<number> {
  for (const pid of await cages.groups.processes(vm.request.group)) {
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (name.startsWith('kvasir-connect')) return pid
  }
  throw new Error('Nobody connects for the program.')
}

async function said(vm: { log(): Promise<string> }, words: string): Promise<void> {
  await eventually(async () => (await vm.log()).includes(words), {
    timeoutMs: 60_000,
    otherwise: `The program never said "${words}".`,
  })
}

async function knock(
  test: TestCages,
  allowed: readonly Reach[] | undefined,
  args: readonly (string | number)[],
): Promise<readonly string[]> {
  return await knockAs(knocker, test, { allowed, args })
}

async function knockAs(
  program: string,
  { cages }: TestCages,
  {
    allowed,
    args,
  }: { readonly allowed: readonly Reach[] | undefined; readonly args: readonly (string | number)[] },
): Promise<readonly string[]> {
  const reach: CageReach | undefined = allowed && { allowed }
  const { stdout, stderr } = await cages.runJailed({
    group: 'jail-knocker',
    uid: TEST_UID,
    gid: TEST_UID,
    binary: '/usr/bin/perl',
    args: ['-e', program, ...args.map(String)],
    inputs: [],
    reach,
    timeoutMs: 60_000,
    addressSpaceBytes: 2 ** 30,
    cpuSeconds: 60,
    fileSizeBytes: 0,
    outputBytes: 4096,
  })
  assert.equal(stderr, '')
  return stdout.trim().split('\n')
}

interface TestServer extends AsyncDisposable {
  readonly port: number
  lastPeerPort(): number | undefined
}

function at({ port }: TestServer): Reach {
  return { address: '127.0.0.1', firstPort: port }
}

async function listen(name: string, host = '127.0.0.1'): Promise<TestServer> {
  let peerPort: number | undefined
  const server: Server = createServer((socket) => {
    peerPort = socket.remotePort
    socket.on('error', () => {})
    socket.end(`${name} for ${host}`)
  })
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    port: address.port,
    lastPeerPort: () => peerPort,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  }
}
