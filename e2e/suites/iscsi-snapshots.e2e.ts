/** Snapshots of disks that are LUNs: their layers lie in a pool of files, and go back into the LUN when the snapshots are deleted. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readSync } from 'node:fs'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { type IscsiServer, openIscsiServer } from '../../tools/servers/iscsi-target.ts'
import { chainDifferences, snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu', 'tgt')
const mib = 2 ** 20
const target = 'iqn.2026-11.example:layers'
const chap = { user: 'alice', secret: 'not to be seen anywhere' }

/** A world with a pool `san` of two LUNs that are volumes. */
async function openSan(world: World, server: IscsiServer): Promise<void> {
  await server.addTarget(target, [64 * mib, 32 * mib], chap)
  await world.client.call(endpoints.createSecret, { body: { name: 'san-key', value: chap.secret } })
  const place = { server: server.address, port: server.port, target, user: chap.user, secret: 'san-key' }
  await world.client.call(endpoints.createPool, { body: { type: 'iscsi', name: 'san', ...place } })
  for (const file of ['lun-1', 'lun-2'])
    await world.client.call(endpoints.importVolume, {
      params: { pool: 'san' },
      body: { name: file, file, format: 'raw' },
    })
}

/** Writes a word to a place of a disk, in mebibytes, past all caches. */
const write = (vm: VmHandle, word: string, { disk = 'vda', place = 0 } = {}) =>
  vm.shell(
    `printf %-512s ${word} | dd of=/dev/${disk} bs=512 seek=$((${place}*2048)) count=1 conv=fsync,notrunc 2>/dev/null`,
  )
const read = (vm: VmHandle, { disk = 'vda', place = 0 } = {}) =>
  vm.shell(
    `echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/${disk} bs=512 skip=$((${place}*2048)) count=1 2>/dev/null | tr -d '\\0 '`,
  )

/** The word at a place of a LUN, as its server has it. */
function onServer(server: IscsiServer, place = 0, lun = 1): string {
  const file = openSync(server.file(target, lun), 'r')
  try {
    const bytes = Buffer.alloc(512)
    readSync(file, bytes, 0, bytes.length, place * mib)
    return bytes.toString('utf8').replace(/[\0 ]+$/g, '')
  } finally {
    closeSync(file)
  }
}

async function volumeOf(world: World, volume: string) {
  return await world.client.call(endpoints.getVolume, { params: { pool: 'san', volume } })
}

test('a running VM has snapshots of LUNs beside other disks, and its disk is on the LUN again without them', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await using world = await openWorld(t)
  await openSan(world, server)
  const disks = [
    { name: 'a', pool: 'san', volume: 'lun-1' },
    { name: 'b', size: '64MiB' },
  ]
  const vm = await world.bootTiny('web1', { disks, nics: [] })
  const snapshots = snapshotsOf(world, vm)
  const words = ['one', 'two', 'three']
  for (const [place, word] of words.entries()) {
    await write(vm, word, { place })
    await write(vm, word, { disk: 'vdb', place })
    await snapshots.create(word)
  }
  await write(vm, 'now')
  assert.equal((await volumeOf(world, 'lun-1')).liesIn, 'default')
  assert.deepEqual((await vm.show()).spec.disks[0]?.pool, 'san')
  assert.equal(onServer(server), 'one')
  assert.equal(onServer(server, 1), '')
  const shown = await world.cli('snapshot', 'show', 'web1', 'two')
  assert.match(JSON.stringify(shown), /default/)

  await snapshots.delete('two')
  assert.equal(await read(vm), 'now')
  assert.equal(onServer(server, 1), '')
  await snapshots.delete('one')
  assert.equal(onServer(server, 2), 'three')
  assert.equal(onServer(server), 'one')
  for (const place of [1, 2]) assert.equal(await read(vm, { place }), words[place])
  const pid = await vm.pid()
  await snapshots.delete('three')
  assert.equal(await vm.pid(), pid)
  assert.equal(onServer(server), 'now')
  assert.equal((await volumeOf(world, 'lun-1')).liesIn, undefined)
  await write(vm, 'after')
  assert.equal(onServer(server), 'after')
  assert.equal(await read(vm, { disk: 'vdb', place: 2 }), 'three')
  await world.assertCleanAudit()

  await snapshots.create('again')
  await write(vm, 'lost')
  await snapshots.revert('again')
  await vm.waitForLogin(2)
  assert.equal(await read(vm), 'after')
  await write(vm, 'kept')
  assert.equal(onServer(server), 'after')
  await snapshots.delete('again')
  assert.equal(await read(vm), 'kept')
  assert.equal(onServer(server), 'kept')

  await snapshots.create('last')
  await write(vm, 'moved', { place: 1 })
  const moved = await world.cli('vm', 'disk', 'move', 'web1', 'a', '--pool', 'default')
  assert.equal(moved.code, 0, moved.stderr)
  assert.deepEqual(await chainDifferences(world, vm), [])
  const left = (await world.client.call(endpoints.listPoolVolumes, { params: { pool: 'san' } })).map(
    ({ format, usedBy }) => [format, ...usedBy],
  )
  assert.deepEqual(left, [['raw'], ['raw']])
  await snapshots.delete('last')
  assert.deepEqual([await read(vm), await read(vm, { place: 1 })], ['kept', 'moved'])
  assert.deepEqual([onServer(server), onServer(server, 1)], ['kept', 'two'])
  await vm.assertCaged()
  await world.assertCleanAudit()
})

test('snapshots of a LUN outlive a killed emulator, and are merged into it while the VM is off', {
  skip,
}, async (t) => {
  await using server = await openIscsiServer()
  await using world = await openWorld(t)
  await openSan(world, server)
  const vm = await world.bootTiny('web1', {
    disks: [{ name: 'a', pool: 'san', volume: 'lun-1' }],
    nics: [],
  })
  const snapshots = snapshotsOf(world, vm)
  await write(vm, 'one')
  await snapshots.create('one', { memory: true })
  await write(vm, 'two', { place: 1 })
  await snapshots.create('two')
  await write(vm, 'now')
  process.kill(await vm.pid(), 'SIGKILL')
  await vm.untilState('crashed')
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await read(vm), 'now')
  await vm.powerOff()

  await snapshots.delete('one')
  assert.equal(onServer(server), 'one')
  assert.equal(onServer(server, 1), 'two')
  await snapshots.delete('two')
  assert.equal(onServer(server), 'now')
  assert.equal((await volumeOf(world, 'lun-1')).format, 'raw')
  await vm.start()
  await vm.waitForLogin(3)
  assert.equal(await read(vm), 'now')
  await world.assertCleanAudit()
})
