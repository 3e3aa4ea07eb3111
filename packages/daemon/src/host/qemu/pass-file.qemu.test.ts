import assert from 'node:assert/strict'
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { KvasirError } from '@kvasir/contract'
import { QmpClient } from '@kvasir/qmp'
import { type RunningProgram, startEmulator } from '@kvasir/qmp/testing/emulator'
import { needs } from '../../../../../tools/require.ts'
import { readBlockGraph } from './block-graph.ts'
import { giveUp } from './forget-layers.ts'
import { passFile, takeFilesBack } from './pass-file.ts'

const skip = needs('qemu')
const blockBytes = 512

async function fileFor(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-pass-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const path = join(directory, 'disk.raw')
  await writeFile(path, Buffer.alloc(8 * blockBytes))
  return path
}

async function timesOpen({ process }: RunningProgram, path: string): Promise<number> {
  const directory = `/proc/${process.pid}/fd`
  const targets = (await readdir(directory)).map((fd) => readlink(join(directory, fd)).catch(() => ''))
  return (await Promise.all(targets)).filter((target) => target === path).length
}

test('a running QEMU is given a file, opens it as a disk, and has it no longer when it was taken back', {
  skip,
}, async (t) => {
  const path = await fileFor(t)
  await using emulator = await startEmulator()
  using monitor = await QmpClient.connect({ path: emulator.path })

  const file = { kind: 'file', path, access: 'read-write', direct: false } as const
  const filename = await passFile(monitor, { file, label: 'file-data', user: 0 })
  await monitor.execute('blockdev-add', { driver: 'file', 'node-name': 'file-data', filename })
  const isOpen = await timesOpen(emulator, path)
  await monitor.execute('blockdev-del', { 'node-name': 'file-data' })
  await monitor.execute('cont') // QEMU 7.2 closes what was taken back only while its guest runs.
  await takeFilesBack(monitor, (label) => label === 'file-data')
  await takeFilesBack(monitor, (label) => label === 'file-data')

  assert.ok(isOpen >= 1)
  assert.deepEqual(await monitor.execute('query-fdsets'), [])
  assert.equal(await timesOpen(emulator, path), 0)
})

test('files that are passed at one time, with other commands in between, each come under their own label', {
  skip,
}, async (t) => {
  const path = await fileFor(t)
  await using emulator = await startEmulator()
  using monitor = await QmpClient.connect({ path: emulator.path })
  const labels = ['file-a', 'file-b', 'file-c']

  const file = { kind: 'file', path, access: 'read', direct: false } as const
  const passed = labels.map((label) => passFile(monitor, { file, label, user: 0 }))
  const others = labels.map(() => monitor.execute('query-status'))
  const names = await Promise.all(passed)
  await Promise.all(others)

  const sets = await monitor.execute('query-fdsets')
  const byName = new Map(sets.map((set) => [`/dev/fdset/${set['fdset-id']}`, set.fds[0]?.opaque]))
  assert.deepEqual(
    names.map((name) => byName.get(name)),
    labels,
  )
  assert.equal(monitor.strayReplies, 0)
})

test('a file that is not there is refused, and the monitor goes on', { skip }, async () => {
  await using emulator = await startEmulator()
  using monitor = await QmpClient.connect({ path: emulator.path })

  const file = { kind: 'file', path: '/no/such/disk', access: 'read', direct: false } as const
  await assert.rejects(
    passFile(monitor, { file, label: 'file-data', user: 0 }),
    (error) => error instanceof KvasirError && error.code === 'host-failed',
  )

  assert.equal((await monitor.execute('query-status')).status, 'prelaunch')
})

test('a line that was not sent ends the connection, since half of it may have been', { skip }, async () => {
  await using emulator = await startEmulator()
  using monitor = await QmpClient.connect({ path: emulator.path })

  const refused = monitor.executeBeside('add-fd', {
    args: {},
    send: async () => {
      throw new Error('The helper is gone.')
    },
  })
  const meanwhile = monitor.execute('query-status')

  await assert.rejects(refused, /helper is gone/)
  await assert.rejects(meanwhile, { name: 'QmpClosedError' })
  assert.equal((await monitor.closed).kind, 'socket-error')
})

test('files that were handed over for layers that were never made are told of, and given up', {
  skip,
}, async (t) => {
  const [passed, opened, used] = [await fileFor(t), await fileFor(t), await fileFor(t)]
  await using emulator = await startEmulator()
  using monitor = await QmpClient.connect({ path: emulator.path })
  const pass = async (path: string, label: string) =>
    await passFile(monitor, {
      file: { kind: 'file', path, access: 'read-write', direct: false },
      label,
      user: 0,
    })
  await pass(passed, 'passed')
  for (const [path, node] of [
    [opened, 'opened'],
    [used, 'used'],
  ] as const)
    await monitor.execute('blockdev-add', {
      driver: 'file',
      'node-name': node,
      filename: await pass(path, node),
    })
  await monitor.execute('blockdev-add', { driver: 'raw', 'node-name': 'layer', file: 'used' })

  const files = [passed, opened, used]
  const { begun, loose } = await readBlockGraph(monitor, emulator.process.pid ?? 0, { disks: [], files })
  const ours = begun.filter(({ path }) => files.includes(path))
  assert.deepEqual(
    new Map(ours.map(({ path, fileNode }) => [path, fileNode])),
    new Map([
      [passed, undefined],
      [opened, 'opened'],
    ]),
  )
  assert.deepEqual(
    loose.map(({ path }) => path),
    [used],
  )
  await monitor.execute('cont') // QEMU 7.2 closes what was taken back only while its guest runs.
  for (const one of ours) await giveUp(monitor, one)
  await giveUp(monitor, { set: -1, fileNode: 'used' })

  const [times = -1, more = -1, still = 0] = await Promise.all(files.map((path) => timesOpen(emulator, path)))
  assert.deepEqual([times, more, still > 0], [0, 0, true])
})
