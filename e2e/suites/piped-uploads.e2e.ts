/** Volumes that come through a pipe, of which nobody knows how long it is. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { type CliRun, startCli } from '../machine/cli.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt')
const mib = 2 ** 20

/** Runs a command line with chunks on its stdin, each of which may wait for something. */
async function piped(
  world: World,
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  ...argv: readonly string[]
): Promise<CliRun> {
  const child = startCli(world.place, argv)
  const ended = once(child, 'close')
  const said = Promise.all([text(child.stdout), text(child.stderr)])
  for await (const chunk of chunks) {
    if (child.stdin.destroyed) break // It said why.
    if (!child.stdin.write(chunk)) await Promise.race([once(child.stdin, 'drain').catch(() => {}), ended])
  }
  child.stdin.end()
  const [stdout, stderr] = await said
  await ended
  return { code: child.exitCode, stdout, stderr }
}

const show = (world: World, volume: string) =>
  world.client.call(endpoints.getVolume, { params: { pool: 'default', volume } })

test('what comes through a pipe is a volume, also when the daemon dies meanwhile; too much or nothing is not', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const back = join(world.place.base, 'back.img')
  const [begin, end] = [randomBytes(3 * mib + 77), randomBytes(mib)]
  const zeros = Buffer.alloc(mib)
  async function* sender() {
    yield begin
    for (let count = 0; count < 16; count++) yield zeros
    await eventually(async () => (await show(world, 'data')).upload !== undefined, {
      withinMs: 30_000,
      what: 'the upload begins',
    })
    await sleep(500) // Some of it is on its way.
    await world.daemon.kill9()
    await world.startDaemon()
    yield end
  }

  const done = await piped(
    world,
    sender(),
    'volume',
    'upload',
    '-',
    'data',
    '--size',
    '64MiB',
    '--as',
    'qcow2',
  )

  assert.equal(done.code, 0, done.stderr)
  assert.match(
    done.stderr,
    /data is uploaded \(20\.\d+ MiB came from stdin, 20971597 bytes, and zeros up to its 64 MiB\)/,
  )
  const { capacityBytes, allocatedBytes } = await show(world, 'data')
  assert.ok(capacityBytes === 64 * mib && Number(allocatedBytes) < 8 * mib, `${allocatedBytes} bytes`)
  assert.equal((await world.cli('volume', 'download', 'data', back)).code, 0)
  const whole = Buffer.alloc(64 * mib)
  begin.copy(whole)
  end.copy(whole, begin.length + 16 * mib)
  assert.ok(readFileSync(back).equals(whole))

  const again = await piped(world, [end], 'volume', 'upload', '-', 'data', '--force')
  assert.equal(again.code, 0, again.stderr)
  assert.equal((await world.cli('volume', 'download', 'data', back, '--force')).code, 0)
  assert.ok(readFileSync(back).equals(Buffer.concat([end, Buffer.alloc(63 * mib)])))

  await refuseOthers(world, end)
})

/** `data` has 64 MiB; others are not there. */
async function refuseOthers(world: World, end: Buffer): Promise<void> {
  const refusals: readonly (readonly [argv: readonly string[], chunks: readonly Buffer[], says: RegExp])[] = [
    [['new'], [end], /no file, so nobody knows how much will come/],
    [['new', '--size', '1MiB'], [], /Nothing came from stdin/],
    [['new', '--size', '1MiB'], [Buffer.from('QFI\xfb', 'latin1'), end], /looks like a qcow2 image/],
    [['data', '--size', '65MiB', '--force'], [end], /has 64 MiB, into which 65 MiB do not go/],
    [
      ['long', '--size', '2MiB'],
      [end, end, end],
      /More comes from stdin than the 2 MiB that volume long has/,
    ],
  ]
  for (const [argv, chunks, says] of refusals) {
    const { code, stderr } = await piped(world, chunks, 'volume', 'upload', '-', ...argv)
    assert.notEqual(code, 0)
    assert.match(stderr, says)
  }
  await assert.rejects(show(world, 'new'), { code: 'volume-not-found' })
  const long = await piped(world, [end], 'volume', 'upload', '-', 'long', '--size', '2MiB')
  assert.match(long.stderr, /is being uploaded from something else/)
  assert.ok((await show(world, 'long')).upload)
  const anew = await piped(world, [end], 'volume', 'upload', '-', 'long', '--size', '2MiB', '--force')
  assert.equal(anew.code, 0, anew.stderr)
  assert.equal((await show(world, 'long')).upload, undefined)
}

test('what lies behind a short pipe is cleared by the job that ends it, and by the next daemon when one dies in that', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const [path, back] = ['full.img', 'back.img'].map((name) => join(world.place.base, name))
  assert.ok(path !== undefined && back !== undefined)
  const [size, begin] = [272 * mib, randomBytes(mib)]
  writeFileSync(path, Buffer.alloc(size, 'Z'))
  await world.client.call(endpoints.createSecret, { body: { name: 'luks', value: 'of-nobody' } })
  const full = await world.cli('volume', 'upload', path, 'data', '--as', 'raw', '--encrypt', 'luks')
  assert.equal(full.code, 0, full.stderr)

  await failpoints.arm('volume.upload.after-clear', 'exit')
  const upload = piped(world, [begin], 'volume', 'upload', '-', 'data', '--size', '1MiB', '--force')
  await world.daemon.exited
  await failpoints.disarm()
  await world.startDaemon(failpoints.environment)
  const { code, stderr } = await upload

  assert.equal(code, 0, stderr)
  assert.match(stderr, /clearing the 271 MiB behind its end/)
  assert.match(stderr, /Volume data is uploaded/)
  assert.equal((await world.cli('volume', 'download', 'data', back)).code, 0)
  assert.ok(readFileSync(back).equals(Buffer.concat([begin, Buffer.alloc(size - mib)])))
})
