/**
 * Volumes of LVM that are encrypted, and clones that go on without what they came from.
 *
 * Not here: what a pool promises (lvm-pool.lab.ts), what a guest sees of all that is done to its disks (storage.lab.ts).
 */
import assert from 'node:assert/strict'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, type Job } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { eventually } from '../../e2e/machine/eventually.ts'
import type { VmHandle } from '../../e2e/machine/vm-handle.ts'
import { openWorld, type World } from '../../e2e/machine/world.ts'
import { needs } from '../../tools/require.ts'
import { sh } from '../testing/shell.ts'
import { newVolumeGroup } from '../testing/volume-group.ts'

const skip = needs('lab', 'root', 'qemu')
const mib = 2 ** 20
const jobMs = 300_000

/** Opens a world with a pool `fast` that is a volume group and a pool `thin` in it. */
async function openPools(world: World, vg: string): Promise<void> {
  const thin = { type: 'lvm-thin', name: 'thin', vg, thinPool: 'pool0', size: 256 * mib } as const
  await world.client.call(endpoints.createPool, { body: { type: 'lvm', name: 'fast', vg } })
  await world.client.call(endpoints.createPool, { body: thin })
}

async function createVolume(world: World, pool: string, name: string): Promise<void> {
  await world.client.call(endpoints.createVolume, { params: { pool }, body: { name, size: 64 * mib } })
}

function grow(world: World, pool: string, volume: string, size: number) {
  return world.client.call(endpoints.resizeVolume, {
    params: { pool, volume },
    body: { size, shrink: false },
  })
}

async function done(world: World, job: Promise<Job>): Promise<Job> {
  return await waitForJob(world.client, await job, { signal: AbortSignal.timeout(jobMs) })
}

function seesSectors(vm: VmHandle, disk: string, bytes: number) {
  return eventually(async () => (await vm.shell(`cat /sys/block/${disk}/size`)) === String(bytes / 512), {
    withinMs: 20_000,
    what: `the guest sees ${disk} with ${bytes} bytes`,
  })
}

/** The device-mapper nodes that an emulator has open. */
async function openDevices(vm: VmHandle): Promise<readonly string[]> {
  const folder = `/proc/${await vm.pid()}/fd`
  const links = await Promise.all(
    (await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')),
  )
  return [...new Set(links.filter((link) => link.startsWith('/dev/dm-')))]
}

test('an encrypted volume of a volume group is plugged, grows under the guest, and is let go of', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 256)
  await using world = await openWorld(t)
  await world.client.call(endpoints.createPool, { body: { type: 'lvm', name: 'fast', vg } })
  await world.client.call(endpoints.createSecret, { body: { name: 'luks', value: 'a passphrase' } })
  await world.client.call(endpoints.createVolume, {
    params: { pool: 'fast' },
    body: { name: 'extra', size: 64 * mib, encrypt: 'luks' },
  })
  const vm = await world.bootTiny('web1')
  const { spec } = await vm.show()
  await vm.apply({ ...spec, disks: [{ name: 'extra', pool: 'fast', volume: 'extra' }] })
  await eventually(async () => (await vm.shell('ls /sys/block')).includes('vda'), {
    withinMs: 20_000,
    what: 'the guest sees the disk that was plugged',
  })
  await vm.shell('echo on the linear volume >/dev/vda; sync')
  await vm.assertCaged()
  assert.equal((await openDevices(vm)).length, 1, 'It has the device that it uses, and no other.')

  const extra = await grow(world, 'fast', 'extra', 96 * mib)
  assert.ok(extra.capacityBytes >= 96 * mib)
  await seesSectors(vm, 'vda', extra.capacityBytes)
  assert.equal(await vm.shell('head -n 1 /dev/vda'), 'on the linear volume')
  const encrypted = `/dev/${vg}/$(lvs --noheadings -o lv_name ${vg} | tr -d ' ')`
  assert.equal(await sh(`grep -c 'on the linear volume' ${encrypted} || true`), '0')
  assert.match(await sh(`head -c 4 ${encrypted}`), /^LUKS/)

  await vm.apply({ ...spec, disks: [] })
  await eventually(async () => (await openDevices(vm)).length === 0, {
    withinMs: 20_000,
    what: 'the emulator has let go of the device',
  })
  await eventually(
    () =>
      world.client.call(endpoints.deleteVolume, { params: { pool: 'fast', volume: 'extra' } }).then(
        () => true,
        () => undefined,
      ),
    { withinMs: 20_000, what: 'the volume is free to be deleted' },
  )
  assert.equal(await sh(`lvs --noheadings -o lv_name ${vg}`), '')
})

test('a thin volume that was cloned may go, and a copy of it in a folder and back is the same', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t, 768)
  await using world = await openWorld(t)
  await openPools(world, vg)
  await createVolume(world, 'thin', 'data')
  const path = async (pool: string, volume: string) =>
    (await world.client.call(endpoints.getVolume, { params: { pool, volume } })).path ?? ''
  await sh(`printf kept | dd of=${await path('thin', 'data')} seek=1000 conv=fsync`)
  const params = { pool: 'thin', volume: 'data' }

  await done(
    world,
    world.client.call(endpoints.cloneVolume, { params, body: { name: 'twin', mode: 'linked' } }),
  )
  await world.client.call(endpoints.deleteVolume, { params })
  const convert = (from: string, pool: string, format?: 'qcow2' | 'raw') =>
    done(
      world,
      world.client.call(endpoints.convertVolume, {
        params: { pool: from, volume: 'twin' },
        body: { pool, ...(format ? { format } : {}) },
      }),
    )
  await convert('thin', 'default', 'qcow2')
  await convert('default', 'fast')

  const copy = await path('fast', 'twin')
  assert.equal(await sh(`dd if=${copy} skip=1000 count=1 status=none | head -c 4`), 'kept')
  const shown = await world.client.call(endpoints.getPool, { params: { pool: 'thin' } })
  assert.deepEqual([shown.place, shown.volumes, shown.type], [`${vg}/pool0`, 0, 'lvm-thin'])
})

test('a disk goes with its snapshot to a thin pool and back, and what is empty takes no space there', {
  skip,
}, async (t) => {
  const vg = await newVolumeGroup(t)
  await using world = await openWorld(t)
  await openPools(world, vg)
  const [path, back] = [join(world.place.base, 'disk.img'), join(world.place.base, 'back.img')]
  await sh(
    `truncate -s 64M ${path} && tr '\\0' x </dev/zero | dd of=${path} bs=1M count=4 iflag=fullblock conv=notrunc`,
  )
  const run = async (...words: readonly string[]) => {
    const { code, stderr } = await world.cli(...words)
    assert.equal(code, 0, stderr)
  }
  await run('volume', 'upload', path, 'data', '--as', 'qcow2')
  await world.createTiny('web1', { disks: [{ name: 'data', volume: 'data' }] })
  await run('snapshot', 'create', 'web1', 'before')

  await run('vm', 'disk', 'move', 'web1', 'data', '--pool', 'thin')
  const shares = await sh(`lvs --noheadings --separator , -o pool_lv,data_percent,lv_name ${vg}`)
  await run('vm', 'disk', 'move', 'web1', 'data', '--pool', 'default')

  const percents = [...shares.matchAll(/^ *pool0,([\d.]+),/gm)].map(([, percent]) => Number(percent))
  assert.equal(percents.length, 2, shares) // The disk's own, and what it was at the snapshot.
  for (const percent of percents) assert.ok(percent < 10, shares) // 4 of 64 MiB.
  const isGone = async () =>
    (await world.client.call(endpoints.listVolumes)).every(({ pool }) => pool === 'default') || undefined
  await eventually(isGone, { withinMs: 60_000, what: 'what the disk left in the thin pool is gone' })
  await run('snapshot', 'delete', 'web1', 'before')
  const [{ volume = '' } = {}] = (await world.vm('web1').show()).spec.disks
  await run('vm', 'delete', 'web1')
  await run('volume', 'download', volume, back)
  await sh(`cmp ${path} ${back}`)
})
