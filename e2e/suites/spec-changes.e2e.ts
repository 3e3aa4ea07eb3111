/** A VM's name and spec over time: rename, plan, apply, optimistic locking, idempotent creation, autostart. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { endpoints } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { eventually } from '../machine/eventually.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import type { VmHandle } from '../machine/vm-handle.ts'
import { openWorld, tinySpec, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')

test('a VM is renamed while it runs, and the old name is free', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('old')
  const { uuid } = await vm.show()

  await world.client.call(endpoints.renameVm, { params: { name: 'old' }, body: { name: 'new' } })

  assert.equal((await world.vm('new').show()).uuid, uuid)
  await world.vm('new').isCounting()
  const other = await world.createTiny('old')
  assert.notEqual((await other.show()).uuid, uuid)
  await assert.rejects(
    world.client.call(endpoints.renameVm, { params: { name: 'old' }, body: { name: 'new' } }),
    { code: 'name-taken' },
  )
})

test('a plan says field by field what a change does, and applying it does that', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const wanted = tinySpec({ description: 'the first', cpu: { count: 2 } })

  const plan = await vm.plan(wanted)
  assert.equal(plan.action, 'change')
  assert.deepEqual(
    plan.changes.map(({ field, effect }) => ({ field, effect })),
    [
      { field: 'cpu.count', effect: 'next-boot' },
      { field: 'description', effect: 'live' },
    ],
  )
  assert.equal((await vm.show()).revision, 1)

  const changed = await vm.apply(wanted)
  assert.equal(changed.revision, 2)
  assert.deepEqual(changed.status.restartNeeded, ['cpu.count'])
  assert.equal(await vm.shell('nproc'), '1')

  await vm.shutdown({ timeoutSeconds: 30 })
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('nproc'), '2')
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
  assert.equal((await vm.plan(wanted)).action, 'nothing')
})

test('entropy, a keyboard, a watchdog, USB and a balloon come and go while the guest runs, whatever the daemon dies of in between', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)
  const vm = await world.bootTiny('web1', { devices: { rng: false, balloon: false } })
  const set = async (assignment: string) => await world.cli('vm', 'set', 'web1', `devices.${assignment}`)
  await vm.shell('modprobe virtio_input')
  /** Whether the guest has entropy, a keyboard and a watchdog (Intel's 25ab). */
  const seen = async () => {
    const words = await vm.shell(
      'cat /sys/class/misc/hw_random/rng_available /proc/bus/input/devices /sys/bus/pci/devices/*/device',
    )
    return [/virtio_rng/, /QEMU Virtio Keyboard/, /0x25ab/].map((word) => word.test(words))
  }
  const until = async (what: string, wanted: readonly boolean[]) =>
    await eventually(
      async () => {
        const { restartNeeded, job } = (await vm.show()).status
        if (restartNeeded?.length !== 0 || job !== undefined) return undefined
        return (await seen()).join() === wanted.join() ? true : undefined
      },
      { withinMs: 60_000, what },
    )
  assert.deepEqual(await seen(), [false, false, false])

  for (const [point, assignment, wanted] of [
    ['emulator.plug-device.after-objects', 'rng=true', [true, false, false]],
    ['emulator.plug-device.after-device', 'keyboard=virtio', [true, true, false]],
    ['vm.devices.after-release', 'keyboard=ps2', [true, false, false]],
  ] as const) {
    await failpoints.arm(point, 'exit')
    await Promise.all([set(assignment), world.daemon.exited])
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)
    await until(point, wanted)
  }
  assert.match((await set('watchdog=true')).stderr, /Device watchdog is plugged\./)
  await until('a watchdog came', [true, false, true])
  await vm.assertCaged()
  assert.match((await set('watchdog=false')).stderr, /Device watchdog is gone\./)
  assert.match((await set('rng=false')).stderr, /Device rng is gone\./)
  await until('all are gone', [false, false, false])
  assert.match((await set('rng=true')).stderr, /Device rng is plugged\./)
  await until('it came again', [true, false, false])

  const controllers = async () =>
    (await vm.shell('cat /sys/bus/pci/devices/*/class')).match(/0x0c0330/g) ?? []
  assert.match((await set('pointer=usb')).stderr, /Device usb is plugged\. Device pointer is plugged\./)
  assert.equal((await controllers()).length, 1)
  await world.daemon.kill9()
  await world.startDaemon(failpoints.environment)
  assert.deepEqual((await vm.untilState('running')).status.restartNeeded, []) // A tablet that QEMU had not would be named.
  await world.cli('vm', 'save', 'web1')
  await vm.start()
  assert.equal((await controllers()).length, 1)
  assert.match((await set('pointer=ps2')).stderr, /Device pointer is gone\. Device usb is gone\./)
  assert.deepEqual([(await controllers()).length, (await vm.show()).status.restartNeeded], [0, []])

  await balloonComesAndGoes(vm, world)

  const told = await world.cli('vm', 'set', 'web1', 'lifecycle.onReboot=power-off')
  assert.match(told.stderr, /VM web1 is changed\.\s*$/)
  await vm.shell('(sleep 1; reboot -f) >/dev/null 2>&1 &')
  await vm.untilState('shutoff')
})

/** A balloon is plugged into the guest that runs, has some of its memory, and goes. */
async function balloonComesAndGoes(vm: VmHandle, world: World): Promise<void> {
  const set = async (wanted: boolean) => await world.cli('vm', 'set', 'web1', `devices.balloon=${wanted}`)
  const freeKiB = async () => Number(/MemFree: +(\d+)/.exec(await vm.shell('cat /proc/meminfo'))?.[1])
  const before = await freeKiB()
  assert.match((await set(true)).stderr, /Device balloon is plugged\./)
  await world.cli('vm', 'balloon', 'web1', '104MiB')
  assert.ok((await freeKiB()) < before - 16 * 1024, 'the balloon has 24 MiB of it')
  await world.cli('vm', 'balloon', 'web1', 'all')
  assert.match((await set(false)).stderr, /Device balloon is gone\./)
  assert.deepEqual((await vm.show()).status.restartNeeded, [])
}

test('what cannot change is refused by name, and nothing changes', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1')
  const wanted = tinySpec({ description: 'changed', machine: { type: 'microvm' } })

  assert.equal((await vm.plan(wanted)).action, 'refused')
  await assert.rejects(vm.apply(wanted), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'plan-refused')
    assert.match(error.message, /machine\.type/)
    return true
  })

  const { spec, revision } = await vm.show()
  assert.equal(spec.description, '')
  assert.equal(revision, 1)
})

test('a change to an outdated revision is refused', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1')
  await vm.apply(tinySpec({ description: 'mine' }), { ifMatch: 1 })

  await assert.rejects(vm.apply(tinySpec({ description: 'theirs' }), { ifMatch: 1 }), {
    code: 'revision-mismatch',
  })
  await assert.rejects(world.client.call(endpoints.deleteVm, { params: { name: 'web1' }, ifMatch: 1 }), {
    code: 'revision-mismatch',
  })

  assert.equal((await vm.show()).spec.description, 'mine')
})

test('a create that is repeated with its key gives the same VM; another one is refused', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const idempotencyKey = randomUUID()
  const create = (name: string) =>
    world.client.call(endpoints.createVm, { body: { name, spec: tinySpec() }, idempotencyKey })

  const first = await create('web1')
  await world.daemon.stop()
  await world.startDaemon()
  const again = await create('web1')

  assert.equal(again.uuid, first.uuid)
  await assert.rejects(create('web2'), { code: 'idempotency-conflict' })
  await assert.rejects(world.client.call(endpoints.createVm, { body: { name: 'web1', spec: tinySpec() } }), {
    code: 'name-taken',
  })
  assert.equal((await world.client.call(endpoints.listVms)).length, 1)
})

test('after a boot of the host VMs start by themselves, in their order', { skip }, async (t) => {
  await using world = await openWorld(t)
  await world.createTiny('late', { autostart: { enabled: true, order: 20 } })
  await world.createTiny('early', { autostart: { enabled: true, order: 10, delaySeconds: 1 } })
  await world.createTiny('never')

  // A boot empties the runtime directory, which holds the mark; a restart of the daemon alone does not.
  await world.daemon.stop()
  await rm(join(world.place.runtimeDir, 'autostarted'))
  await world.startDaemon()
  const early = await world.vm('early').untilState('running')
  const late = await world.vm('late').untilState('running')

  const startedAt = (vm: typeof early) => Date.parse(vm.status.startedAt ?? '')
  assert.ok(startedAt(late) - startedAt(early) >= 1_000, 'The delay after the first is kept.')
  assert.equal(await world.vm('never').state(), 'shutoff')

  await world.vm('early').powerOff()
  await world.daemon.stop()
  await world.startDaemon()
  assert.equal(await world.vm('early').state(), 'shutoff')
})
