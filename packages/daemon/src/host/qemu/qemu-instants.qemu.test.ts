import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ChangedPiece } from '@kvasir/contract'
import { QmpClient } from '@kvasir/qmp'
import { startEmulator } from '@kvasir/qmp/testing/emulator'
import { needs } from '../../../../../tools/require.ts'
import type { KeptDisk } from '../../ports/emulator-instants.ts'
import { openSecretFiles } from '../files/secret-files.ts'
import { QemuInstants } from './qemu-instants.ts'

const skip = needs('qemu')
const mib = 2 ** 20
const sizeBytes = 16 * mib
const options = {
  direct: false,
  noFlush: false,
  discard: 'unmap' as const,
  guarded: false,
}
const name = { disk: 'a', id: '0f0e0d0c-0b0a-4908-8706-050403020100' }
const signal = AbortSignal.timeout(120_000)

/** A stopped QEMU with a qcow2 disk; what is written to it is written by its monitor. Disks on I/O threads: e2e/suites/instants.e2e.ts. */
async function openDisk(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-instant-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const disk = join(directory, 'disk.qcow2')
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, String(sizeBytes)])
  const start = () =>
    startEmulator(
      [
        `-machine q35 -m 64 -blockdev file,node-name=file-a,filename=${disk}`,
        '-blockdev qcow2,node-name=node-a,file=file-a -device virtio-blk-pci,drive=node-a,id=disk-a',
      ].flatMap((words) => words.split(' ')),
    )
  const scratch = join(directory, 'scratch.raw')
  await writeFile(scratch, '')
  execFileSync('truncate', ['-s', String(sizeBytes), scratch])
  const kept = { ...name, options, source: { path: scratch, format: 'raw' as const } }
  return { directory, kept, start }
}

async function connect(path: string, directory: string) {
  const monitor = await QmpClient.connect({ path })
  const write = async (byte: number, atMib: number, lengthMib: number) => {
    const line = `qemu-io -d /machine/peripheral/disk-a/virtio-backend "write -P ${byte} ${atMib}M ${lengthMib}M"`
    const said = await monitor.execute('human-monitor-command', { 'command-line': line })
    assert.equal(said, '') // A refusal; what it wrote, it prints on its stdout.
  }
  const secrets = await openSecretFiles(directory)
  const instants = new QemuInstants({ ask: (work) => work(monitor), paths: { directory }, secrets, user: 0 })
  const take = async (disk: KeptDisk, options: { readonly begins: string | undefined }) => {
    await instants.open([disk])
    await instants.take([disk], options)
    return async () => {
      while ((await instants.copied(disk)) < 1) await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  return { monitor, write, take, instants, [Symbol.dispose]: () => monitor.close() }
}

/** What pieces make of what was before. */
async function applied(before: Buffer, pieces: AsyncIterable<ChangedPiece>): Promise<Buffer> {
  const after = Buffer.from(before)
  let at = 0
  for await (const piece of pieces) {
    if (piece.kind === 'data') after.set(piece.bytes, at)
    if (piece.kind === 'zeros') after.fill(0, at, at + piece.lengthBytes)
    at += piece.kind === 'data' ? piece.bytes.length : piece.lengthBytes
  }
  assert.equal(at, sizeBytes)
  return after
}

function expected(parts: readonly (readonly [byte: number, atMib: number, lengthMib: number])[]): Buffer {
  const bytes = Buffer.alloc(sizeBytes)
  for (const [byte, at, length] of parts) bytes.fill(byte, at * mib, (at + length) * mib)
  return bytes
}

/** Nothing is left of what was kept. */
async function assertLetGo(monitor: QmpClient): Promise<void> {
  assert.deepEqual(await monitor.execute('query-jobs'), [])
  const nodes = await monitor.execute('query-named-block-nodes', { flat: true })
  assert.deepEqual(
    nodes.map((node) => String(node['node-name'])).toSorted((a, b) => a.localeCompare(b)),
    ['file-a', 'node-a'],
  )
}

test('a disk is read as it was at one instant, as often as one likes, while it is written', {
  skip,
}, async (t) => {
  const { directory, kept, start } = await openDisk(t)
  await using emulator = await start()
  using qemu = await connect(emulator.path, directory)
  await qemu.write(1, 0, 8)
  const untilCopied = await qemu.take({ ...kept, since: undefined }, { begins: undefined })
  await qemu.write(9, 0, 2)
  await qemu.write(9, 12, 1)
  await untilCopied()
  const read = () => qemu.instants.read(name, { sizeBytes, isIncrement: false, signal })

  const first = await applied(Buffer.alloc(sizeBytes), read())
  await qemu.write(9, 4, 1)
  const second = await applied(Buffer.alloc(sizeBytes, 5), read())

  assert.ok(first.equals(expected([[1, 0, 8]])))
  assert.ok(second.equals(first))
  await qemu.instants.end(name)
  await qemu.instants.end(name)
  await assertLetGo(qemu.monitor)
})

test('who leaves in the middle, or dies, leaves a disk that goes on and can be let go of', {
  skip,
}, async (t) => {
  const { directory, kept, start } = await openDisk(t)
  await using emulator = await start()
  using qemu = await connect(emulator.path, directory)
  await qemu.write(1, 0, 16)
  const untilCopied = await qemu.take({ ...kept, since: undefined }, { begins: undefined })
  await untilCopied()
  const leaving = new AbortController()
  const slow = qemu.instants.read(name, { sizeBytes, isIncrement: false, signal: leaving.signal })

  for await (const piece of qemu.instants.read(name, { sizeBytes, isIncrement: false, signal }))
    if (piece.kind === 'data') break
  await slow[Symbol.asyncIterator]().next()
  await qemu.write(2, 0, 16) // Nobody reads on, and the disk does not wait for it.
  leaving.abort(new Error('It left.'))
  qemu.monitor.close()
  using next = await connect(emulator.path, directory)
  await next.instants.end(name)

  await assertLetGo(next.monitor)
  await next.write(3, 0, 16)
})

test('a full copy and what changed since its checkpoint are the disk at a later instant; the checkpoint outlasts the emulator', {
  skip,
}, async (t) => {
  const { directory, kept, start } = await openDisk(t)
  let full: Buffer
  {
    await using emulator = await start()
    using qemu = await connect(emulator.path, directory)
    await qemu.write(1, 0, 8)
    const untilCopied = await qemu.take({ ...kept, since: undefined }, { begins: 'checkpoint-one' })
    await qemu.write(2, 1, 1)
    await untilCopied()
    full = await applied(
      Buffer.alloc(sizeBytes),
      qemu.instants.read(name, { sizeBytes, isIncrement: false, signal }),
    )
    await qemu.instants.end(name)
    await qemu.monitor.execute('quit')
    await new Promise((resolve) => emulator.process.once('exit', resolve))
  }
  await using emulator = await start()
  using qemu = await connect(emulator.path, directory)
  await qemu.write(3, 6, 1)
  assert.deepEqual(await qemu.instants.bitmaps(['a'], 'checkpoint-'), [
    { disk: 'a', name: 'checkpoint-one', isWhole: true, changedBytes: 2 * mib },
  ])

  const untilCopied = await qemu.take({ ...kept, since: 'checkpoint-one' }, { begins: 'checkpoint-two' })
  await qemu.write(9, 0, 8)
  await untilCopied()
  const pieces: ChangedPiece[] = []
  for await (const piece of qemu.instants.read(name, { sizeBytes, isIncrement: true, signal }))
    pieces.push(piece)
  const sent = pieces.reduce((sum, piece) => sum + (piece.kind === 'data' ? piece.bytes.length : 0), 0)
  const after = await applied(
    full,
    (async function* () {
      yield* pieces
    })(),
  )

  assert.equal(sent, 2 * mib)
  assert.ok(
    after.equals(
      expected([
        [1, 0, 8],
        [2, 1, 1],
        [3, 6, 1],
      ]),
    ),
  )
  await qemu.instants.end(name)
  await qemu.instants.removeBitmaps('checkpoint-one', ['a'])
  await assertLetGo(qemu.monitor)
  assert.deepEqual(
    (await qemu.instants.bitmaps(['a'], 'checkpoint-')).map((one) => [one.name, one.changedBytes]),
    [['checkpoint-two', 8 * mib]],
  )
  emulator.process.kill('SIGKILL')
  await new Promise((resolve) => emulator.process.once('exit', resolve))
  await using third = await start()
  using again = await connect(third.path, directory)
  assert.deepEqual(await again.instants.bitmaps(['a'], 'checkpoint-'), [])
})
