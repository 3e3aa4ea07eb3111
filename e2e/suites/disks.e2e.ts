/** Disks as the guest sees them, and images from outside. */
import assert from 'node:assert/strict'
import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, type ImportFormat } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { runTool } from '../machine/host-tools.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

test('disks of either bus are there under their serials, and keep what was written', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', {
    disks: [
      { name: 'fast', size: '32MiB', serial: 'FAST-1' },
      { name: 'plain', size: '48MiB', bus: 'virtio-scsi', serial: 'PLAIN-2' },
      { name: 'alone', size: '16MiB', ioThread: false, cache: 'writeback' },
    ],
  })
  assert.match(await vm.shell('cat /sys/block/sda/device/vpd_pg80'), /PLAIN-2/)
  const sectors = async (device: string) => Number(await vm.shell(`cat /sys/block/${device}/size`))
  assert.equal(await sectors(await deviceOf(vm, 'FAST-1')), (32 * 2 ** 20) / 512)
  assert.equal(await sectors('sda'), (48 * 2 ** 20) / 512)
  assert.equal(await sectors(await deviceOf(vm, 'alone')), (16 * 2 ** 20) / 512)

  const devices = async () => [await deviceOf(vm, 'FAST-1'), 'sda', await deviceOf(vm, 'alone')]
  for (const [number, device] of (await devices()).entries())
    await vm.shell(`echo kept-${number} | dd of=/dev/${device} bs=512 seek=8 conv=fsync 2>/dev/null`)
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)

  for (const [number, device] of (await devices()).entries()) {
    const line = await vm.shell(`dd if=/dev/${device} bs=512 skip=8 count=1 2>/dev/null | head -n 1`)
    assert.equal(line, `kept-${number}`)
  }
})

/** Linux promises no order of disks; a serial, which is the disk's name unless another was given, tells them apart. */
async function deviceOf(vm: VmHandle, serial: string): Promise<string> {
  const path = await vm.shell(`grep -l -x -e ${serial} /sys/block/vd*/serial`).catch(() => '')
  const device = /^\/sys\/block\/(vd[a-z])\/serial$/.exec(path)?.[1]
  assert.ok(device, `No disk has the serial ${serial}: ${await vm.shell('head /sys/block/vd*/serial')}`)
  return device
}

test('a read-only disk cannot be written', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'fixed', size: '16MiB', readOnly: true }] })

  assert.equal(await vm.shell('cat /sys/block/vda/ro'), '1')
  const { exitCode } = await vm.run('echo no | dd of=/dev/vda bs=512 count=1 conv=fsync')

  assert.notEqual(exitCode, 0)
})

test('a disk that is added has its place at the next boot too', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'one', size: '16MiB' }] })
  const { spec } = await vm.show()

  await vm.apply({ ...spec, disks: [...spec.disks, { name: 'two', size: '24MiB' }] })
  const isThere = async () => (await vm.shell('ls /sys/block | grep -c vd')) === '2'
  await eventually(async () => ((await isThere()) ? true : undefined), {
    withinMs: 20_000,
    what: 'the guest has both',
  })
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)

  assert.equal(await vm.shell('cat /sys/block/vd*/size | sort'), '32768\n49152')
})

test('disks are made in the format that is asked for, with the VM and later, and one from an image is raw as a copy', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const file = join(world.place.base, 'disk.raw')
  await writeFile(file, 'from outside')
  await truncate(file, 2 ** 20)
  await importImage(world, { path: file, name: 'outside', format: 'raw' })
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'copy', image: 'outside', size: '16MiB', format: 'raw' }],
  })
  const added = await world.cli('vm', 'disk', 'add', 'web1', 'name=more,size=24MiB,format=raw')
  assert.equal(added.code, 0, added.stderr)
  const device = await eventually(() => deviceOf(vm, 'more').catch(() => undefined), {
    withinMs: 20_000,
    what: 'the guest has the disk that was added',
  })
  const write = (to: string) => vm.shell(`echo kept | dd of=/dev/${to} bs=512 conv=fsync 2>/dev/null`)
  await write(device)

  assert.equal(await vm.shell(`head -c 12 /dev/${await deviceOf(vm, 'copy')}`), 'from outside')
  const volumes = await world.client.call(endpoints.listVolumes, {})
  const made = new Map(volumes.map(({ name, format, capacityBytes }) => [name, [format, capacityBytes]]))
  assert.deepEqual(made.get('web1-copy'), ['raw', 16 * 2 ** 20])
  assert.deepEqual(made.get('web1-more'), ['raw', 24 * 2 ** 20])
  for (const { path = '', name } of volumes)
    assert.match(await readFile(path, 'latin1'), name === 'web1-more' ? /^kept\n/ : /^from outside/)
})

test('a qcow2 is imported, and disks are made from it that do not change it', { skip }, async (t) => {
  await using world = await openWorld(t)
  const raw = join(world.place.base, 'disk.raw')
  await writeFile(raw, 'from outside')
  await truncate(raw, 8 * 2 ** 20)
  const file = join(world.place.base, 'disk.qcow2')
  await runTool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, file)

  const image = await importImage(world, { path: file, name: 'outside' })
  assert.equal(image.disk?.virtualSizeBytes, 8 * 2 ** 20)
  const disks = [{ name: 'data', image: 'outside', size: '32MiB' }]
  const first = await world.bootTiny('first', { disks })
  await first.shell('echo changed | dd of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null')
  const second = await world.bootTiny('second', { disks })

  assert.equal(await second.shell('head -c 12 /dev/vda'), 'from outside')
  assert.equal(await second.shell('cat /sys/block/vda/size'), '65536')
  await assert.rejects(world.client.call(endpoints.deleteImage, { params: { image: 'outside' } }), {
    code: 'in-use',
  })
})

const hostile: readonly { what: string; format?: ImportFormat; make: (file: string) => Promise<unknown> }[] =
  [
    {
      what: 'a qcow2 whose backing file is a file of the host',
      make: (file) =>
        runTool('qemu-img', 'create', '-u', '-f', 'qcow2', '-b', '/etc/shadow', '-F', 'raw', file, '1M'),
    },
    {
      what: 'a qcow2 whose data is in a file of the host',
      make: (file) =>
        runTool('qemu-img', 'create', '-f', 'qcow2', '-o', `data_file=${file}.data`, file, '1M'),
    },
    {
      what: 'a VMDK whose extent is a file of the host',
      format: 'vmdk',
      make: (file) =>
        writeFile(
          file,
          '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/shadow" 0\n',
        ),
    },
    { what: 'a text', make: (file) => writeFile(file, 'This is no image.\n'.repeat(100)) },
    { what: 'an empty file', make: (file) => writeFile(file, '') },
    {
      what: 'a truncated qcow2',
      make: async (file) => {
        await runTool('qemu-img', 'create', '-f', 'qcow2', file, '64M')
        await truncate(file, 1000)
      },
    },
  ]

test('images that reach for the host, or are none, are refused', { skip }, async (t) => {
  await using world = await openWorld(t)
  for (const [number, { what, format, make }] of hostile.entries()) {
    const path = join(world.place.base, `hostile-${number}`)
    await make(path)

    await assert.rejects(
      importImage(world, { path, name: `hostile-${number}`, format: format ?? 'qcow2' }),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'image-refused', `${what}: ${error.message}`)
        assert.doesNotMatch(error.message, /root:/)
        return true
      },
      what,
    )
  }

  const images = await world.client.call(endpoints.listImages)
  assert.deepEqual(
    images.map(({ name }) => name),
    ['tiny'],
  )
})

test('a file that does not exist is not imported', { skip }, async (t) => {
  await using world = await openWorld(t)

  await assert.rejects(importImage(world, { path: '/nonexistent/disk.qcow2', name: 'none' }), {
    code: 'file-not-found',
  })
  await assert.rejects(importImage(world, { path: '/dev/vda', name: 'device' }), { code: 'image-refused' })
})

async function importImage(world: World, body: { path: string; name: string; format?: ImportFormat }) {
  const job = await world.client.call(endpoints.importImage, { body })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(60_000) })
  return await world.client.call(endpoints.getImage, { params: { image: body.name } })
}
