/** That a caged program reaches the servers that it was given, and nothing else of this machine. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { needs } from '../../../../../tools/require.ts'
import type { Reach } from '../../model/storage/reach.ts'
import type { CageReach } from './launcher-script.ts'
import { at, knocker, listen, unreachable } from './testing/knocking.ts'
import { openTestCages, TEST_UID, type TestCages } from './testing/test-cages.ts'

const skip = needs('root')

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
})

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
