/** Disks that come and go while the guest runs, guests that keep them, and daemons that die in between. */
import assert from 'node:assert/strict'
import { readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints, type Job, type Vm, type VmSpec } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const jobMs = 120_000

type Disk = { readonly name: string } & Partial<VmSpec['disks'][number]>

async function setDisks(world: World, vm: VmHandle, disks: readonly Disk[]): Promise<Job> {
  const { spec } = await vm.show()
  return await jobOf(world, await vm.apply({ ...spec, disks: [...disks] }))
}

async function jobOf(world: World, { status }: Vm): Promise<Job> {
  assert.ok(status.job, 'a job was begun')
  const job = await world.client.call(endpoints.getJob, { params: { id: status.job } })
  return await waitForJob(world.client, job, { signal: AbortSignal.timeout(jobMs) })
}

/** The sizes in sectors of the disks that the guest has, by their serials. */
async function disksOf(vm: VmHandle): Promise<Record<string, number>> {
  const text = await vm.shell(
    'for d in /sys/block/vd* /sys/block/sd*; do [ -e $d/size ] && echo $(cat $d/serial $d/device/vpd_pg80 2>/dev/null | tail -c 20 | tr -cd "a-z0-9-") $(cat $d/size); done; true',
  )
  const lines = text.split('\n').filter((line) => line.includes(' '))
  return Object.fromEntries(lines.map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]))
}

/** The files of pools that an emulator has open. */
function openVolumes(pid: number): readonly string[] {
  const directory = `/proc/${pid}/fd`
  const targets = readdirSync(directory).map((fd) => {
    try {
      return readlinkSync(join(directory, fd))
    } catch {
      return '' // It was closed meanwhile.
    }
  })
  return [...new Set(targets.filter((target) => target.endsWith('.qcow2')))]
}

async function untilDisks(vm: VmHandle, names: readonly string[]): Promise<void> {
  const look = async () =>
    Object.keys(await disksOf(vm))
      .sort()
      .join()
  await eventually(async () => ((await look()) === [...names].sort().join() ? true : undefined), {
    withinMs: 20_000,
    what: `the guest has the disks ${names.join()}`,
  })
}

const mib = 2 ** 20

test('disks of either bus are plugged into a guest that runs, hold what is written, and go again', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'one', size: 16 * mib }] })
  const { spec } = await vm.show()
  const one = spec.disks[0]
  assert.ok(one)
  const disks: Disk[] = [
    one,
    { name: 'two', size: 24 * mib },
    { name: 'three', size: 32 * mib, bus: 'virtio-scsi' },
  ]

  const plan = await vm.plan({ ...spec, disks })
  const job = await setDisks(world, vm, disks)

  assert.deepEqual(
    plan.changes.map(({ field, effect }) => [field, effect]),
    [
      ['disks.three', 'live'],
      ['disks.two', 'live'],
    ],
  )
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  await untilDisks(vm, ['one', 'two', 'three'])
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
  await vm.assertCaged()
  await vm.shell('echo kept | dd of=/dev/vdb bs=512 seek=8 conv=fsync 2>/dev/null')
  const pid = await vm.pid()
  const before = openVolumes(pid).length

  const gone = await setDisks(world, vm, [one])

  assert.equal(gone.state, 'succeeded', JSON.stringify(gone.error))
  await untilDisks(vm, ['one'])
  assert.equal(openVolumes(pid).length, before - 2)
  await vm.assertCaged()
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
  const again = await setDisks(world, vm, [one, { name: 'two', volume: 'web1-two' }])
  assert.equal(again.state, 'succeeded', JSON.stringify(again.error))
  await untilDisks(vm, ['one', 'two'])
  assert.equal(await vm.shell('dd if=/dev/vdb bs=512 skip=8 count=1 2>/dev/null | head -n 1'), 'kept')
})

test('a guest that stands still keeps its disk until it goes on; the job and the status say so', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'one', size: 16 * mib }] })
  await vm.pause()

  await assert.rejects(setDisks(world, vm, []), { code: 'guest-refused' })

  const kept = await vm.show()
  assert.deepEqual(kept.spec.disks, [])
  assert.deepEqual(kept.status.restartNeeded, ['disks.one'])
  await assert.rejects(
    world.client.call(endpoints.deleteVolume, { params: { pool: 'default', volume: 'web1-one' } }),
    {
      code: 'in-use',
    },
  )
  await vm.resume()
  await untilDisks(vm, [])
  await eventually(async () => ((await vm.show()).status.restartNeeded?.length === 0 ? true : undefined), {
    withinMs: 10_000,
    what: 'the disk is gone',
  })
  await world.client.call(endpoints.deleteVolume, { params: { pool: 'default', volume: 'web1-one' } })
})

test('a VM whose disks came and went is saved, and goes on with those that it has', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'one', size: 16 * mib }] })
  const { spec } = await vm.show()
  const [one] = spec.disks
  assert.ok(one)
  await setDisks(world, vm, [one, { name: 'two', size: 24 * mib }])
  await untilDisks(vm, ['one', 'two'])
  await vm.shell('echo kept | dd of=/dev/vdb bs=512 seek=8 conv=fsync 2>/dev/null')

  await vm.save()
  await vm.start()

  await vm.isCounting()
  await untilDisks(vm, ['one', 'two'])
  assert.equal(await vm.shell('dd if=/dev/vdb bs=512 skip=8 count=1 2>/dev/null | head -n 1'), 'kept')
  const third = await setDisks(world, vm, [one, { name: 'three', size: 32 * mib }])
  assert.equal(third.state, 'succeeded', JSON.stringify(third.error))
  await untilDisks(vm, ['one', 'three'])
  await vm.save()
  await vm.start()
  await vm.isCounting()
  await untilDisks(vm, ['one', 'three'])
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  await untilDisks(vm, ['one', 'three'])
})

const deaths = [
  ['vm.disks.before-plug', 'plug'],
  ['emulator.plug.after-file', 'plug'],
  ['emulator.plug.after-nodes', 'plug'],
  ['emulator.plug.after-device', 'plug'],
  ['vm.disks.after-plug', 'plug'],
  ['vm.disks.before-ask', 'unplug'],
  ['vm.disks.after-ask', 'unplug'],
  ['vm.disks.after-release', 'unplug'],
  ['emulator.unplug.after-nodes', 'unplug'],
  ['emulator.unplug.after-files', 'unplug'],
  ['vm.disks.after-remove', 'unplug'],
] as const

test('a daemon that is killed at any step of a plug or unplug is followed by one that finishes it', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'one', size: 16 * mib }] })
  const { spec } = await vm.show()
  const [one] = spec.disks
  assert.ok(one)
  const two: Disk = { name: 'two', size: 24 * mib, bus: 'virtio-scsi' }
  const both = [one, two]
  await setDisks(world, vm, both)
  const withVolume = (await vm.show()).spec.disks
  await setDisks(world, vm, [one])
  const pid = await vm.pid()

  for (const [point, what] of deaths) {
    if (what === 'unplug' && (await vm.show()).spec.disks.length === 1) {
      await setDisks(world, vm, withVolume)
      await untilDisks(vm, ['one', 'two'])
    }
    await failpoints.arm(point, 'exit')
    const wanted = what === 'plug' ? withVolume : [one]
    await vm.apply({ ...spec, disks: wanted }).catch(() => undefined)
    await world.daemon.exited
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)

    await untilDisks(vm, what === 'plug' ? ['one', 'two'] : ['one'])
    const isSettled = async () => {
      const { status } = await vm.show()
      return status.job === undefined && status.restartNeeded?.length === 0 ? true : undefined
    }
    await eventually(isSettled, { withinMs: 20_000, what: `${point}: it is settled` })
    assert.equal(openVolumes(pid).length, what === 'plug' ? 2 : 1, point)
    assert.equal(await vm.pid(), pid)
    assert.deepEqual((await world.audit()).entries, [], point)
    if (what === 'plug') await setDisks(world, vm, [one])
  }
})
