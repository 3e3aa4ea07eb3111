/** CD-ROM drives whose media come and go, and daemons that die in between. */
import assert from 'node:assert/strict'
import { readdirSync, readlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const blockBytes = 2048

/** A medium that says what it is, at its beginning and at its end. */
async function makeMedium(world: World, name: string): Promise<string> {
  const path = join(world.place.base, name)
  const block = Buffer.alloc(blockBytes, `this is ${name}\n`)
  await writeFile(path, Buffer.concat([block, Buffer.alloc(14 * blockBytes), block]))
  return path
}

/** What a drive holds, by its first line; undefined for nothing. */
async function held(vm: VmHandle, drive: 'cd' | 'other'): Promise<string | undefined> {
  const { stdout, exitCode } = await vm.run(`head -c 64 /dev/${await deviceOf(vm, drive)} | head -n 1`)
  return exitCode === 0 && stdout.trim() !== '' ? stdout.trim() : undefined
}

/** Linux shows no serial of a drive: the one that comes first by name is behind the first root port. */
async function deviceOf(vm: VmHandle, drive: 'cd' | 'other'): Promise<string> {
  const port = drive === 'cd' ? '00:08.0/' : '00:08.1/'
  return await vm.shell(
    `for d in /sys/block/sr*; do readlink $d | grep -q ${port} && basename $d; done; true`,
  )
}

async function untilHeld(vm: VmHandle, wanted: string | undefined, drive: 'cd' | 'other' = 'cd') {
  await eventually(async () => ((await held(vm, drive)) === wanted ? true : undefined), {
    withinMs: 30_000,
    what: `drive ${drive} holds ${wanted ?? 'nothing'}`,
  })
}

function hasOpen(pid: number, path: string): boolean {
  const directory = `/proc/${pid}/fd`
  return readdirSync(directory).some((fd) => {
    try {
      return readlinkSync(join(directory, fd)) === path
    } catch {
      return false // It was closed meanwhile.
    }
  })
}

test('drives are read, changed and emptied while the guest runs; a locked tray is left alone', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const [first, second] = [await makeMedium(world, 'first.iso'), await makeMedium(world, 'second.iso')]
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'cd', device: 'cdrom', bus: 'virtio-scsi', file: first },
      { name: 'other', device: 'cdrom', bus: 'virtio-scsi' },
    ],
  })
  const cdrom = async (...words: readonly string[]) => await world.cli('vm', 'cdrom', ...words)
  await vm.shell('modprobe sr_mod')
  await untilHeld(vm, 'this is first.iso')
  assert.equal(await held(vm, 'other'), undefined)
  assert.notEqual((await vm.run(`echo no >/dev/${await deviceOf(vm, 'cd')}`)).exitCode, 0)

  const inserted = await cdrom('insert', 'web1', 'cd', second)

  assert.equal(inserted.code, 0, inserted.stderr)
  await untilHeld(vm, 'this is second.iso')
  const pid = await vm.pid()
  assert.deepEqual([hasOpen(pid, first), hasOpen(pid, second)], [false, true])
  await vm.assertCaged()
  assert.deepEqual((await vm.show()).status.restartNeeded, [])

  // Who has the drive open has locked its tray.
  const drive = await deviceOf(vm, 'cd')
  await vm.shell(`(exec sleep 3600 </dev/${drive} >/dev/null 2>&1 & echo $! >/tmp/reader); true`)
  const refused = await cdrom('eject', 'web1', 'cd')
  assert.notEqual(refused.code, 0)
  assert.match(refused.stderr, /locked the tray/)
  assert.equal((await vm.show()).spec.disks[0]?.file, second)
  assert.equal(await held(vm, 'cd'), 'this is second.iso')
  const forced = await cdrom('eject', 'web1', 'cd', '--force')
  assert.equal(forced.code, 0, forced.stderr)
  assert.equal(hasOpen(pid, second), false)
  await vm.shell('kill $(cat /tmp/reader)')
  await untilHeld(vm, undefined)

  await world.client.call(endpoints.createVolume, {
    params: { pool: 'default' },
    body: { name: 'iso', size: 2 ** 20, format: 'raw' },
  })
  assert.equal((await cdrom('insert', 'web1', 'other', 'iso')).code, 0)
  const size = async () => (await vm.run(`wc -c </dev/${await deviceOf(vm, 'other')}`)).stdout.trim()
  await eventually(async () => ((await size()) === String(2 ** 20) ? true : undefined), {
    withinMs: 20_000,
    what: 'the volume is in the drive',
  })
  await assert.rejects(
    world.client.call(endpoints.deleteVolume, { params: { pool: 'default', volume: 'iso' } }),
    { code: 'in-use' },
  )
  assert.match((await cdrom('insert', 'web1', 'cd', '/nonexistent.iso')).stderr, /does not exist/)
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  await vm.shell('modprobe sr_mod')
  await untilHeld(vm, undefined)
  await world.assertCleanAudit()
})

test('a daemon that is killed while it changes a medium is followed by one that finishes it', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const media = [await makeMedium(world, 'first.iso'), await makeMedium(world, 'second.iso')] as const
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'cd', device: 'cdrom', bus: 'virtio-scsi', file: media[0] }],
  })
  await vm.shell('modprobe sr_mod')
  const pid = await vm.pid()

  const points = [
    'vm.medium.before-change',
    'vm.medium.after-eject',
    'vm.medium.after-change',
    'emulator.plug.after-file',
  ]
  for (const [index, point] of points.entries()) {
    const file = media[(index + 1) % 2] ?? ''
    await failpoints.arm(point, 'exit')
    const setMedium = { params: { name: 'web1', drive: 'cd' }, body: { file } }
    await world.client.call(endpoints.setMedium, setMedium).catch(() => undefined)
    await world.daemon.exited
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)

    const isSettled = async () => {
      const { status, spec } = await vm.show()
      const isDone = status.job === undefined && status.restartNeeded?.length === 0
      return isDone && spec.disks[0]?.file === file ? true : undefined
    }
    await eventually(isSettled, { withinMs: 30_000, what: `${point}: it is settled` })
    await untilHeld(vm, `this is ${index % 2 === 0 ? 'second' : 'first'}.iso`)
    assert.deepEqual(
      media.map((one) => hasOpen(pid, one)),
      media.map((one) => one === file),
      point,
    )
    assert.equal(await vm.pid(), pid)
    assert.deepEqual((await world.audit()).entries, [], point)
  }
})
