import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { QmpClient } from '@kvasir/qmp'
import { startEmulator } from '@kvasir/qmp/testing/emulator'
import { needs } from '../../../../../tools/require.ts'
import { bitmapName, bitmapPrefix } from '../../model/storage/checkpoint-state.ts'
import { openSecretFiles } from '../files/secret-files.ts'
import { QemuInstants } from './qemu-instants.ts'
import { QemuNotes } from './qemu-notes.ts'

const skip = needs('qemu')
const kib = 2 ** 10
const [monday, tuesday] = [bitmapName('monday'), bitmapName('tuesday')]

/** A stopped QEMU with a raw disk of a size that is no whole number of grains, on an I/O thread. */
async function openDisk(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-notes-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const disk = join(directory, 'disk.raw')
  await writeFile(disk, '')
  const resize = (bytes: number) => execFileSync('truncate', ['-s', String(bytes), disk])
  resize(16 * 1024 * kib + 1536)
  const start = () =>
    startEmulator(
      [
        `-machine q35 -m 64 -object iothread,id=io -blockdev file,node-name=file-a,filename=${disk}`,
        '-blockdev raw,node-name=node-a,file=file-a -device virtio-blk-pci,drive=node-a,id=disk-a,iothread=io',
      ].flatMap((words) => words.split(' ')),
    )
  const path = join(directory, 'volume.notes')
  await writeFile(path, '')
  return { directory, path, resize, start }
}

async function connect(path: string, directory: string) {
  const monitor = await QmpClient.connect({ path })
  const write = async (place: string) => {
    const line = `qemu-io -d /machine/peripheral/disk-a/virtio-backend "write ${place}"`
    assert.equal(await monitor.execute('human-monitor-command', { 'command-line': line }), '')
  }
  const secrets = await openSecretFiles(directory)
  const ask = <T>(work: (one: QmpClient) => Promise<T>) => work(monitor)
  const instants = new QemuInstants({ ask, paths: { directory }, secrets, user: 0 })
  const known = async () => {
    const found = await instants.bitmaps(['a'], bitmapPrefix)
    return found
      .map(({ name, isWhole, changedBytes }) => [name, isWhole, changedBytes / kib])
      .toSorted(([a], [b]) => String(a).localeCompare(String(b)))
  }
  const notes = new QemuNotes({ ask, user: 0 })
  return { monitor, write, instants, known, notes, [Symbol.dispose]: () => monitor.close() }
}

test('what was noted of a raw disk goes on in the next emulator where it ended in the last', {
  skip,
}, async (t) => {
  const { directory, path, start } = await openDisk(t)
  {
    await using emulator = await start()
    using qemu = await connect(emulator.path, directory)
    await qemu.instants.beginBitmaps(monday, ['a'])
    await qemu.write('1M 128k')
    await qemu.instants.beginBitmaps(tuesday, ['a'])
    await qemu.write('16M 512') // In the last grain, of which there is a part alone.

    assert.equal(await qemu.notes.putAway({ disk: 'a', path }), 2)
    const nodes = await qemu.monitor.execute('query-named-block-nodes', { flat: true })
    assert.equal(nodes.length, 2)
  }
  await using emulator = await start()
  using qemu = await connect(emulator.path, directory)

  assert.equal(await qemu.notes.takeBack({ disk: 'a', path, names: [monday, tuesday] }), 2)
  await qemu.monitor.execute('cont')
  await qemu.notes.letGo()
  assert.deepEqual(await qemu.monitor.execute('query-fdsets'), [])
  assert.deepEqual(await qemu.known(), [
    [monday, true, 192],
    [tuesday, true, 64],
  ])
  await qemu.write('2M 64k')
  assert.deepEqual(await qemu.known(), [
    [monday, true, 256],
    [tuesday, true, 128],
  ])
  assert.equal((await qemu.monitor.execute('query-named-block-nodes', { flat: true })).length, 2)
})

test('only what is asked for is taken back, and nothing of a disk of another size', { skip }, async (t) => {
  const { directory, path, resize, start } = await openDisk(t)
  {
    await using emulator = await start()
    using qemu = await connect(emulator.path, directory)
    assert.equal(await qemu.notes.putAway({ disk: 'a', path }), 0) // There is nothing.
    assert.equal((await readFile(path)).length, 0)
    await qemu.instants.beginBitmaps(monday, ['a'])
    await qemu.instants.beginBitmaps(tuesday, ['a'])
    await qemu.notes.putAway({ disk: 'a', path })
  }
  {
    await using emulator = await start()
    using qemu = await connect(emulator.path, directory)
    assert.equal(await qemu.notes.takeBack({ disk: 'a', path, names: [tuesday] }), 1)
    assert.deepEqual(await qemu.known(), [[tuesday, true, 0]])
  }
  resize(32 * 1024 * kib)
  await using emulator = await start()
  using qemu = await connect(emulator.path, directory)
  await assert.rejects(qemu.notes.takeBack({ disk: 'a', path, names: [monday] }), /what was noted of it/)
  assert.deepEqual(await qemu.known(), [])
  assert.equal((await qemu.monitor.execute('query-named-block-nodes', { flat: true })).length, 2)
})

test('an emulator that is killed while it puts away, and a file that is none, leave nothing to take back', {
  skip,
}, async (t) => {
  const { directory, path, start } = await openDisk(t)
  await writeFile(path, 'not qcow2')
  {
    await using emulator = await start()
    using qemu = await connect(emulator.path, directory)
    await assert.rejects(qemu.notes.takeBack({ disk: 'a', path, names: [monday] }))
    assert.deepEqual(await qemu.known(), [])
    await writeFile(path, '')
    await qemu.instants.beginBitmaps(monday, ['a'])
    await qemu.write('1M 128k')
    const dying = qemu.notes.putAway({ disk: 'a', path })
    dying.catch(() => {})
    await emulator[Symbol.asyncDispose]()
    await dying.catch(() => {})
  }
  await using emulator = await start()
  using qemu = await connect(emulator.path, directory)

  const taken = await qemu.notes.takeBack({ disk: 'a', path, names: [monday] }).catch(() => 0)

  assert.deepEqual(await qemu.known(), taken === 0 ? [] : [[monday, true, 128]]) // All of it, or nothing.
})
