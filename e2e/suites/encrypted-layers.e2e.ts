/** What is done to an encrypted disk under a real guest: snapshots, merges, moves, exports, clones. Whatever it becomes is encrypted too. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { needs } from '../../tools/require.ts'
import { addPool, movesOf } from '../machine/moves.ts'
import { patient } from '../machine/patience.ts'
import { assertNowhere, filesWith, volumesInTheClear } from '../machine/secrecy.ts'
import { chainDifferences, snapshotsOf } from '../machine/snapshots.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const passphrase = 'Correct-Horse-7f3a91'
const marked = 'nobody-reads-this'
const mib = 2 ** 20
const jobMs = 120_000

/** A VM that runs, with one encrypted disk. */
async function encryptedVm(t: TestContext): Promise<{ readonly world: World; readonly vm: VmHandle }> {
  const world = await openWorld(t)
  await world.client.call(endpoints.createSecret, { body: { name: 'luks', value: passphrase } })
  await world.client.call(endpoints.createVolume, {
    params: { pool: 'default' },
    body: { name: 'a', size: 16 * mib, encrypt: 'luks' },
    timeoutMs: patient(jobMs),
  })
  return { world, vm: await world.bootTiny('web1', { disks: [{ name: 'a', volume: 'a' }], nics: [] }) }
}

/** Writes a word to a place of the disk, past all caches. */
const write = (vm: VmHandle, word: string, place = 0) =>
  vm.shell(
    `printf %-512s ${marked}-${word} | dd of=/dev/vda bs=512 seek=$((${place}*2048)) count=1 conv=fsync,notrunc 2>/dev/null`,
  )
const read = async (vm: VmHandle, place = 0, disk = 'vda') =>
  (
    await vm.shell(
      `echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/${disk} bs=512 skip=$((${place}*2048)) count=1 2>/dev/null | tr -d '\\0 '`,
    )
  ).replace(`${marked}-`, '')

/** All volumes are encrypted, and neither what the guest wrote nor the passphrase is anywhere. */
async function assertClosed(world: World): Promise<void> {
  assert.deepEqual(await volumesInTheClear(world), [])
  const holders = filesWith(world, marked).filter((path) => /\.(?:qcow2|raw)$/.test(path))
  assert.deepEqual(holders, [])
  await assertNowhere(world, passphrase)
}

test('snapshots of an encrypted disk are taken, merged from the middle and gone back to', {
  skip,
}, async (t) => {
  const { world, vm } = await encryptedVm(t)
  await using _ = world
  const snapshots = snapshotsOf(world, vm)
  for (const [place, word] of ['one', 'two', 'three'].entries()) {
    await write(vm, word, place)
    const { pauseMs } = await snapshots.create(word)
    t.diagnostic(`The disk waited ${pauseMs} ms.`)
  }
  await write(vm, 'now', 3)
  assert.deepEqual(await chainDifferences(world, vm), [])
  await assertClosed(world)
  const pid = await vm.pid()

  await snapshots.delete('two') // Its neighbour takes it in, which is not the file that the guest writes to.
  assert.deepEqual(await chainDifferences(world, vm), [])
  await snapshots.delete('three') // The guest's own file takes it in.

  assert.equal(await vm.pid(), pid)
  assert.deepEqual(await chainDifferences(world, vm), [])
  for (const [place, word] of ['one', 'two', 'three', 'now'].entries())
    assert.equal(await read(vm, place), word)
  await assertClosed(world)
  await vm.powerOff()
  await snapshots.create('four')
  await snapshots.delete('four')
  await snapshots.revert('one')
  assert.deepEqual(await chainDifferences(world, vm), [])
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await read(vm, 0), 'one')
  assert.equal(await read(vm, 1), '')

  await addPool(world, 'fast')
  const moves = movesOf(world, vm)
  await moves.move('a', { pool: 'fast' }) // With its layer, each encrypted anew.
  assert.deepEqual(await moves.differences({ alone: false }), [])
  assert.equal(await read(vm, 0), 'one')
  await assertClosed(world)
  await world.assertCleanAudit()
})

test('an encrypted disk is moved, exported and cloned while its guest runs and while it does not', {
  skip,
}, async (t) => {
  const { world, vm } = await encryptedVm(t)
  await using _ = world
  const { client } = world
  const ended = (job: Parameters<typeof waitForJob>[1]) =>
    waitForJob(client, job, { signal: AbortSignal.timeout(patient(jobMs)) })
  await addPool(world, 'fast')
  const moves = movesOf(world, vm)
  await write(vm, 'first')

  await moves.move('a', { pool: 'fast' })
  await moves.move('a', { format: 'raw', pool: 'fast' }) // The `luks` driver of QEMU.
  await write(vm, 'second', 1)
  await ended(
    await client.call(endpoints.exportVm, {
      params: { name: 'web1' },
      body: { name: 'monday', pool: 'default' },
    }),
  )

  assert.deepEqual(await moves.differences({ alone: false }), [])
  await assertClosed(world)
  await vm.powerOff()
  await moves.move('a', { pool: 'default', format: 'qcow2' })
  const volume = { pool: 'default', volume: 'a' }
  for (const mode of ['full', 'linked'] as const)
    await ended(
      await client.call(endpoints.cloneVolume, { params: volume, body: { name: `${mode}-copy`, mode } }),
    )
  await assertClosed(world)
  const { spec } = await vm.show()
  const copies = ['a.monday', 'full-copy', 'linked-copy']
  await vm.apply({ ...spec, disks: copies.map((name, place) => ({ name: `b${place}`, volume: name })) })
  await vm.start()
  await vm.waitForLogin(2)
  for (const disk of ['vda', 'vdb', 'vdc'])
    assert.deepEqual([await read(vm, 0, disk), await read(vm, 1, disk)], ['first', 'second'], disk)
})
