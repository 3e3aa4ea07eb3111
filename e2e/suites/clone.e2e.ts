/** Clones: linked ones share what was there, full ones share nothing, and neither sees what the other writes later. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { leftoversOf } from '../machine/leftovers.ts'
import { straysOf } from '../machine/strays.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

const read = (vm: VmHandle) => vm.shell('dd if=/dev/vda bs=16 count=1 2>/dev/null | tr -d "\\0"')
const write = (vm: VmHandle, text: string) =>
  vm.shell(`printf %-16s ${text} | dd of=/dev/vda bs=16 count=1 conv=fsync 2>/dev/null; sync`)

for (const mode of ['linked', 'full'] as const) {
  test(`a ${mode} clone begins with its source's data and goes its own way`, { skip }, async (t) => {
    await using world = await openWorld(t)
    const source = await world.bootTiny('source', { disks: [{ name: 'data', size: '64MiB' }], nics: [] })
    await write(source, 'origin')
    await assert.rejects(source.clone('copy', mode), { code: 'wrong-state' })
    await source.shutdown({ timeoutSeconds: 30 })

    const copy = await source.clone('copy', mode)
    await Promise.all([source.start(), copy.start()])
    await Promise.all([source.waitForLogin(2), copy.waitForLogin()])
    assert.equal((await read(copy)).trim(), 'origin')
    await write(source, 'one')
    await write(copy, 'two')

    assert.equal((await read(source)).trim(), 'one')
    assert.equal((await read(copy)).trim(), 'two')
    const [first, second] = [await source.show(), await copy.show()]
    assert.notEqual(first.uuid, second.uuid)
    assert.notEqual(first.spec.disks[0]?.volume, second.spec.disks[0]?.volume)
  })
}

test('a full clone is cancelled, or dies with the daemon, and nothing of it is left', { skip }, async (t) => {
  await using world = await openWorld(t)
  const source = await world.createTiny('source', { disks: [{ name: 'data', size: '2GiB' }] })
  const volumes = join(world.place.stateDir, 'volumes')
  const [volume = ''] = await readdir(volumes)
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x11 0 600M', join(volumes, volume)])
  const beginClone = async () => {
    const job = await world.client.call(endpoints.cloneVm, {
      params: { name: 'source' },
      body: { name: 'copy', mode: 'full' },
    })
    await eventually(async () => ((await copyingOn(world)).length > 0 ? true : undefined), {
      withinMs: 10_000,
      everyMs: 1,
      what: 'the copy begins',
    })
    return job
  }
  const ends = () =>
    eventually(async () => ((await copyingOn(world)).length === 0 ? true : undefined), {
      withinMs: 10_000,
      everyMs: 10,
      what: 'the copy has ended',
    })

  const { id } = await beginClone()
  await world.client.call(endpoints.cancelJob, { params: { id } })
  await ends()
  await world.client.call(endpoints.getJob, { params: { id }, query: { wait: 30 } })
  await eventually(async () => ((await readdir(volumes)).length === 1 ? true : undefined), {
    withinMs: 10_000,
    what: 'the volume is gone',
  })
  await beginClone()
  await world.daemon.kill9()
  await ends()
  await world.startDaemon()

  assert.deepEqual(await readdir(volumes), [volume])
  assert.deepEqual(await straysOf(world), [])
  assert.equal((await source.show()).status.state, 'shutoff')
  assert.equal((await world.client.call(endpoints.listVms)).length, 1)
})

/** The tools that copy volumes now, with the daemon or without it. */
async function copyingOn(world: World): Promise<readonly string[]> {
  return (await leftoversOf(world.place)).filter((line) => /^process \d+ \S*qemu-img convert/.test(line))
}

test('source and linked clone can be deleted in either order', { skip }, async (t) => {
  await using world = await openWorld(t)
  for (const first of ['source', 'copy']) {
    const source = await world.createTiny('source', { disks: [{ name: 'data', size: '16MiB' }] })
    const copy = await source.clone('copy', 'linked')
    const [goes, stays] = first === 'source' ? [source, copy] : [copy, source]

    await goes.delete()
    await world.assertCleanAudit()
    await stays.start()
    await stays.waitForLogin()
    assert.equal(await stays.shell('cat /sys/block/vda/size'), String((16 * 2 ** 20) / 512))
    await stays.powerOff()
    await stays.delete()

    assert.deepEqual(await world.client.call(endpoints.listVolumes), [])
  }
})

test('a volume that something is based on or uses is not deleted, and the refusal says what', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const source = await world.createTiny('source', { disks: [{ name: 'data', size: '16MiB' }] })
  await source.clone('copy', 'linked')
  const volumes = await world.client.call(endpoints.listVolumes)

  for (const { name } of volumes) {
    await assert.rejects(
      world.client.call(endpoints.deleteVolume, { params: { pool: 'default', volume: name } }),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'in-use')
        assert.match(error.message, /is in use by (VM|volume) /)
        return true
      },
    )
  }

  assert.equal(volumes.length, 3)
})

test('a VM that is deleted without its disks leaves volumes that another can use', { skip }, async (t) => {
  await using world = await openWorld(t)
  const first = await world.bootTiny('first', { disks: [{ name: 'data', size: '16MiB' }] })
  await write(first, 'kept')
  const volume = (await first.show()).spec.disks[0]?.volume
  assert.ok(volume)
  await assert.rejects(first.delete(), { code: 'wrong-state' })
  await first.shutdown({ timeoutSeconds: 30 })
  await first.delete({ disks: false })

  const second = await world.bootTiny('second', { disks: [{ name: 'data', volume }] })

  assert.equal((await read(second)).trim(), 'kept')
})
