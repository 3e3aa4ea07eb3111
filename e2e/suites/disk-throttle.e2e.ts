/** Limits of disks, as a guest feels them: what it writes takes as long as it should, and no longer once the limit is gone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DiskThrottle, VmSpecInput } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const mib = 2 ** 20

/** How many seconds a guest takes to write so many MiB to a disk and to have them there. */
async function secondsFor(vm: VmHandle, device: string, writtenMib: number): Promise<number> {
  const started = performance.now()
  await vm.shell(`dd if=/dev/zero of=/dev/${device} bs=1M count=${writtenMib} conv=fsync 2>/dev/null`)
  return (performance.now() - started) / 1000
}

async function limit(vm: VmHandle, limits: Readonly<Record<string, DiskThrottle | undefined>>) {
  const { spec } = await vm.show()
  const disks = spec.disks.map((disk) => ({ ...disk, throttle: limits[disk.name] }))
  const wanted: VmSpecInput = { ...spec, disks }
  const plan = await vm.plan(wanted)
  assert.deepEqual(
    plan.changes.map(({ effect }) => effect),
    plan.changes.map(() => 'live'),
  )
  return await vm.apply(wanted)
}

test('a limit is kept at once, over a restart of the daemon and of the VM, until it is taken away', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', size: 64 * mib }] })
  const free = await secondsFor(vm, 'vda', 8)

  const { status } = await limit(vm, { data: { bytes: 2 * mib } })
  const held = await secondsFor(vm, 'vda', 8)
  await limit(vm, { data: { bytesWrite: 4 * mib } })
  const faster = await secondsFor(vm, 'vda', 8)
  await world.daemon.stop()
  await world.startDaemon()
  const adopted = await secondsFor(vm, 'vda', 8)
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  const again = await secondsFor(vm, 'vda', 8)
  await limit(vm, {})
  const freed = await secondsFor(vm, 'vda', 8)

  t.diagnostic(
    `8 MiB: free ${free} s, at 2 MiB/s ${held} s, at 4 MiB/s ${faster}, ${adopted}, ${again} s, freed ${freed} s`,
  )
  assert.deepEqual(status.restartNeeded, [])
  assert.ok(held >= 3.4, `at 2 MiB/s ${held} s`)
  for (const seconds of [faster, adopted, again]) assert.ok(seconds >= 1.6, `at 4 MiB/s ${seconds} s`)
  assert.ok(Math.min(free, freed) < held / 2 && freed < held, `without a limit ${freed} s`)
  const written = async () => (await vm.show()).status.disks?.[0]?.writtenBytes ?? 0
  await eventually(async () => ((await written()) >= 16 * mib ? true : undefined), {
    withinMs: 10_000,
    what: 'the status says what was written since the start',
  })
})

test('two disks of one group share its limit, and a burst passes', { skip }, async (t) => {
  await using world = await openWorld(t)
  const throttle: DiskThrottle = { bytes: 2 * mib, group: 'slow' }
  const vm = await world.bootTiny('web1', {
    disks: ['one', 'two'].map((name) => ({ name, size: 32 * mib, throttle })),
  })

  const script = ['vda', 'vdb'].map(
    (device) => `dd if=/dev/zero of=/dev/${device} bs=1M count=4 conv=fsync 2>/dev/null &`,
  )
  const started = performance.now()
  await vm.shell(`${script.join(' ')} wait`)
  const shared = (performance.now() - started) / 1000
  const burst = { ...throttle, burst: { bytes: 64 * mib }, burstSeconds: 5 }
  await limit(vm, { one: burst, two: burst })
  const quick = await secondsFor(vm, 'vda', 8)

  t.diagnostic(`8 MiB on two disks at 2 MiB/s: ${shared} s; with a burst ${quick} s`)
  assert.ok(shared >= 3.4, `both together ${shared} s`)
  assert.ok(quick < shared / 2, `a burst ${quick} s`)
  await assert.rejects(limit(vm, { one: burst, two: throttle }), { code: 'bad-request' })
})
