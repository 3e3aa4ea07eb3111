/** Volumes that come and go as files, through the command line: whole, with holes, broken off, hostile. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { runCli } from '../machine/cli.ts'
import { eventually } from '../machine/eventually.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'passt')
const mib = 2 ** 20

/** A file with random bytes at some places and holes between them. */
function sparseFile(
  world: World,
  name: string,
  { sizeBytes, at }: { sizeBytes: number; at: readonly number[] },
): string {
  const path = join(world.place.base, name)
  const file = openSync(path, 'w')
  ftruncateSync(file, sizeBytes)
  for (const place of at) writeSync(file, randomBytes(mib), 0, mib, place)
  closeSync(file)
  return path
}

const isSame = (a: string, b: string) => execFileSync('cmp', [a, b]).length === 0

async function succeeds(run: ReturnType<World['cli']>) {
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, `${stdout}${stderr}`)
}

const show = (world: World, volume: string) =>
  world.client.call(endpoints.getVolume, { params: { pool: 'default', volume } })

test('a file becomes a volume of either format and comes back as it was, and its holes take no space', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const path = sparseFile(world, 'disk.img', { sizeBytes: 64 * mib + 512, at: [0, 5 * mib + 123, 63 * mib] })
  const back = join(world.place.base, 'back.img')

  await succeeds(world.cli('volume', 'upload', path, 'plain'))
  await succeeds(world.cli('volume', 'upload', path, 'packed', '--as', 'qcow2'))

  for (const [name, format] of [
    ['plain', 'raw'],
    ['packed', 'qcow2'],
  ] as const) {
    const volume = await show(world, name)
    assert.deepEqual([volume.format, volume.capacityBytes], [format, 64 * mib + 512])
    assert.ok(Number(volume.allocatedBytes) < 8 * mib, `${volume.allocatedBytes} bytes`)
    await succeeds(world.cli('volume', 'download', name, back, '--force'))
    assert.ok(isSame(path, back))
    assert.ok(statSync(back).blocks * 512 < 8 * mib)
  }
  const refused = await world.cli('volume', 'download', 'plain', back)
  assert.match(refused.stderr, /exists/)
  assert.deepEqual(
    readdirSync(world.place.base).filter((name) => name.endsWith('.part')),
    [],
  )
})

test('a qcow2 file becomes a volume as it is, unless it names other files, is damaged or is none', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const at = (name: string) => join(world.place.base, name)
  const raw = sparseFile(world, 'disk.img', { sizeBytes: 32 * mib, at: [0, 20 * mib] })
  execFileSync('qemu-img', ['convert', '-O', 'qcow2', '-c', raw, at('good.qcow2')])
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-F',
    'raw',
    '-b',
    '/etc/shadow',
    at('shadow.qcow2'),
    '8M',
  ])
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    `data_file=${at('other.raw')}`,
    at('data.qcow2'),
    '8M',
  ])
  const huge = readFileSync(at('good.qcow2'))
  writeFileSync(at('cut.qcow2'), huge.subarray(0, 3 * 65_536))
  huge.writeUInt32BE(0xff_ff_ff_f0, 36) // The entries of its first table.
  writeFileSync(at('huge.qcow2'), huge)
  writeFileSync(at('noise.qcow2'), randomBytes(mib))

  const unsaid = await world.cli('volume', 'upload', at('good.qcow2'), 'good')
  assert.match(unsaid.stderr, /looks like a qcow2 image/)
  await succeeds(world.cli('volume', 'upload', at('good.qcow2'), 'good', '--format', 'qcow2'))
  assert.equal((await show(world, 'good')).capacityBytes, 32 * mib)
  await succeeds(world.cli('volume', 'download', 'good', at('back.img')))
  assert.ok(isSame(raw, at('back.img')))

  const refusals = {
    shadow: /What was uploaded to volume shadow lies on another file \(\/etc\/shadow\)/,
    data: /What was uploaded to volume data is a qcow2 image that keeps its data in another file/,
    huge: /What was uploaded to volume huge is a qcow2 image whose table of clusters \(L1\) lies behind its end/,
    cut: /volume cut is a qcow2 image whose table of clusters \(L1\) lies behind its end, as of a file that was cut short/,
    noise: /What was uploaded to volume noise is not a qcow2 image/,
  }
  for (const [name, says] of Object.entries(refusals)) {
    const { code, stderr } = await world.cli(
      'volume',
      'upload',
      at(`${name}.qcow2`),
      name,
      '--format',
      'qcow2',
    )
    assert.equal(code, 1, `${name}: ${stderr}`)
    assert.match(stderr, says)
    assert.doesNotMatch(stderr, new RegExp(`imported|${world.place.stateDir}`))
    await assert.rejects(show(world, name), { code: 'volume-not-found' })
  }
})

test('an upload and a download go on when the daemon was killed in the middle of them', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const whole = Array.from({ length: 192 }, (_, index) => index * mib)
  const path = sparseFile(world, 'disk.img', { sizeBytes: 192 * mib, at: whole })
  const back = join(world.place.base, 'back.img')

  const upload = runCli(world.place, ['volume', 'upload', path, 'data', '--as', 'qcow2'])
  await eventually(async () => (await show(world, 'data')).name === 'data', {
    withinMs: 30_000,
    what: 'the upload begins',
  })
  await world.daemon.kill9()
  await world.startDaemon()
  await succeeds(upload)

  const download = runCli(world.place, ['volume', 'download', 'data', back])
  await eventually(async () => readdirSync(world.place.base).some((name) => name.startsWith('back.img')), {
    withinMs: 30_000,
    what: 'the download begins',
  })
  await world.daemon.kill9()
  await world.startDaemon()
  await succeeds(download)

  assert.ok(isSame(path, back))
})

test('over a relay contents travel as a stream, and the relay is not asked for files of its own', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const path = sparseFile(world, 'disk.img', { sizeBytes: 16 * mib, at: [0, 9 * mib] })
  const back = join(world.place.base, 'back.img')
  const socketPath = join(world.place.base, 'relay.sock')
  const asked: string[] = []
  const relay = createServer((client) => {
    const daemon = connect(world.place.socketPath)
    client.on('data', (chunk: Buffer) =>
      asked.push(...(/^[A-Z]+ \S+ HTTP/gm.exec(chunk.toString('latin1')) ?? [])),
    )
    for (const [from, to] of [
      [client, daemon],
      [daemon, client],
    ] as const) {
      from.on('error', () => to.destroy())
      from.pipe(to)
    }
  }).listen(socketPath)
  t.after(() => relay.close())
  const over = (...argv: readonly string[]) =>
    runCli(world.place, argv, { environment: { KVASIR_URL: `unix://${socketPath}` } })

  await succeeds(over('volume', 'upload', path, 'data'))
  await succeeds(over('volume', 'download', 'data', back))

  assert.ok(isSame(path, back))
  const paths = asked.join('\n')
  for (const pattern of [
    /POST \S+upload\/take/,
    /PATCH \S+contents/,
    /POST \S+contents\/give/,
    /GET \S+contents/,
  ])
    assert.match(paths, pattern)
})

test('what a running VM or another program has open is refused with its name', { skip }, async (t) => {
  await using world = await openWorld(t)
  const params = { pool: 'default' }
  for (const name of ['data', 'foreign'])
    await world.client.call(endpoints.createVolume, { params, body: { name, size: 16 * mib } })
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', volume: 'data' }] })
  const holder = spawn('qemu-io', ['-f', 'qcow2', String((await show(world, 'foreign')).path)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  t.after(() => void holder.kill('SIGKILL'))
  await once(holder.stdout, 'data') // Its prompt: it is open.
  const commands = (name: string) => [
    ['volume', 'download', name, join(world.place.base, 'never.img')],
    ['volume', 'check', name],
    ['volume', 'repair', name, '--yes'],
    ['volume', 'wipe', name, '--yes'],
  ]

  for (const argv of commands('data')) {
    const { code, stderr } = await world.cli(...argv)
    assert.equal(code, 1, argv.join(' '))
    assert.match(stderr, /in use by VM web1/, argv.join(' '))
  }
  for (const argv of commands('foreign')) {
    const { code, stderr } = await world.cli(...argv)
    assert.equal(code, 1, argv.join(' '))
    assert.match(stderr, new RegExp(`locked by qemu-io \\(PID ${holder.pid}\\)`), argv.join(' '))
  }
  const gone = once(holder, 'exit')
  holder.kill('SIGKILL')
  await gone
  await succeeds(world.cli('volume', 'wipe', 'foreign', '--yes'))
  await vm.powerOff()
  await succeeds(world.cli('volume', 'check', 'data'))
})
