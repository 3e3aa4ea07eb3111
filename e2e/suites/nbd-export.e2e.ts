/** Disks of a running VM read by NBD as they were at one instant, with the tools that backups are made with. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { patient } from '../machine/patience.ts'
import { environmentOf } from '../machine/place.ts'
import { openWorld, type World } from '../machine/world.ts'
import { beginWriting, flushedBlocks, untilItWritesOn, wrongBlocks } from '../machine/writing-guest.ts'

const skip = needs('root', 'qemu')
const run = promisify(execFile)
const launcher = join(import.meta.dirname, '../../kvasir')
const params = { name: 'web1' }
const mib = 2 ** 20

test('a guest writes on while its disks are read by NBD, twice the same, and nothing is left of it', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const disks = [
    { name: 'a', size: '16MiB' },
    { name: 'b', size: '16MiB', bus: 'virtio-scsi' as const },
  ]
  const vm = await world.bootTiny('web1', { disks, nics: [] })
  await vm.shell('echo before >/dev/sda; sync')
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  const flushed = await flushedBlocks(vm)
  const { base } = world.place
  const socket = join(base, 'web1.sock')

  await using command = await serve(world, socket, '--checkpoint', 'monday')
  await vm.shell('echo after it >/dev/sda; sync')
  await untilItWritesOn(vm)
  assert.deepEqual(command.urls, [`nbd+unix:///a?socket=${socket}`, `nbd+unix:///b?socket=${socket}`])
  assert.equal(statSync(socket).mode & 0o777, 0o600)
  const read = (disk: string, file: string) =>
    run('qemu-img', [
      'convert',
      '-f',
      'raw',
      '-O',
      'raw',
      `nbd+unix:///${disk}?socket=${socket}`,
      join(base, file),
    ])
  await Promise.all([read('a', 'first'), read('b', 'other')])
  await untilItWritesOn(vm)
  await read('a', 'second')
  assert.ok(readFileSync(join(base, 'first')).equals(readFileSync(join(base, 'second'))))
  assert.deepEqual(await wrongBlocks({ top: join(base, 'first'), format: 'raw', scratch: base }, flushed), [])
  assert.equal(readFileSync(join(base, 'other')).subarray(0, 6).toString(), 'before')
  await assert.rejects(
    run('qemu-io', ['-f', 'raw', '-c', 'write 0 512', `nbd+unix:///a?socket=${socket}`]),
    /Permission denied|read-only/i,
  )
  await assert.rejects(read('none', 'none'), /export/i)
  await vm.assertCaged()
  await world.assertCleanAudit()

  const said = await command.end('SIGTERM')
  t.diagnostic(said)
  assert.match(said, /The guest stood for [\d.]+ ms at most/)
  assert.ok(!existsSync(socket))
  await untilNothingIsKept(world)

  await vm.shell('echo later | dd of=/dev/sda bs=1M seek=12 conv=notrunc; sync')
  await using increment = await serve(world, socket, '--since', 'monday')
  assert.deepEqual(await changedPlaces(socket, 'b'), [0, 12])
  await read('b', 'changed')
  const changed = readFileSync(join(base, 'changed'))
  assert.equal(changed.subarray(12 * mib, 12 * mib + 5).toString(), 'later')
  assert.match(await increment.end('SIGTERM'), /Of disk b only what changed since monday is there/)
  await untilNothingIsKept(world)
  await untilItWritesOn(vm)
})

/** In which MiB something changed, as QEMU's client of NBD is told. */
async function changedPlaces(socket: string, disk: string): Promise<readonly number[]> {
  const image = `driver=nbd,export=${disk},server.type=unix,server.path=${socket},x-dirty-bitmap=qemu:dirty-bitmap:changed`
  const { stdout } = await run('qemu-img', ['map', '--output=json', '--image-opts', image])
  const extents: unknown = JSON.parse(stdout)
  assert.ok(Array.isArray(extents))
  // What is dirty is told as what holds no data (QEMU, block/nbd.c).
  return extents.flatMap(({ start, data }) => (data === false ? Math.floor(start / mib) : []))
}

test('nothing is left of disks that are read by NBD when the daemon is killed, or the command is', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'a', size: '16MiB' }], nics: [] })
  await beginWriting(vm, 'vda', 0)
  await untilItWritesOn(vm)
  const [first, second] = [join(world.place.base, 'first.sock'), join(world.place.base, 'second.sock')]

  await using command = await serve(world, first)
  await world.daemon.kill9()
  await world.startDaemon()
  await untilNothingIsKept(world)
  await command.end('SIGTERM')
  await untilItWritesOn(vm)

  await using killed = await serve(world, second)
  const [instant] = await world.client.call(endpoints.listInstants, { params })
  assert.ok(instant !== undefined)
  const again = await world.cli('vm', 'export', 'web1', '--nbd', second)
  assert.equal(again.code, 2, again.stderr)
  await killed.end('SIGKILL')
  await world.client.call(endpoints.endInstant, { params: { ...params, instant: instant.id } })
  await untilNothingIsKept(world)
  await untilItWritesOn(vm)
  await world.assertCleanAudit()
})

async function untilNothingIsKept(world: World): Promise<void> {
  const disks = (await world.client.call(endpoints.getVm, { params })).spec.disks.length
  const isNone = async () => {
    const instants = await world.client.call(endpoints.listInstants, { params })
    const volumes = await world.client.call(endpoints.listVolumes)
    return (instants.length === 0 && volumes.length === disks) || undefined
  }
  await eventually(isNone, { withinMs: 60_000, what: 'nothing is kept of the VM' })
}

/** Runs the command until it says where the disks are. */
async function serve(world: World, socket: string, ...flags: readonly string[]) {
  const child: ChildProcess = spawn(launcher, ['vm', 'export', 'web1', '--nbd', socket, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environmentOf(world.place), NO_COLOR: '1' },
  })
  const { stdout, stderr } = child
  assert.ok(stdout !== null && stderr !== null)
  const exited = once(child, 'exit')
  let said = ''
  stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const { disks } = (await world.client.call(endpoints.getVm, { params })).spec
  const urls: string[] = []
  const lines = createInterface(stdout)
  const told = Promise.withResolvers<void>()
  lines.on('line', (line) => {
    urls.push(line.split(/\s/)[0] ?? '')
    if (urls.length === disks.length) told.resolve()
  })
  lines.once('close', () => told.reject(new Error(`It ended: ${said}`)))
  const deadline = setTimeout(() => child.kill('SIGKILL'), patient(120_000))
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<string> => {
    child.kill(signal)
    await exited
    return said
  }
  await told.promise.finally(() => clearTimeout(deadline))
  return {
    urls,
    /** Ends it; answers what it said besides. */
    end,
    async [Symbol.asyncDispose]() {
      await end('SIGKILL')
    },
  }
}
