/** Saving a VM's memory and going on from it. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { coverWithTmpfs } from '../machine/host-tools.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')

test('a saved VM goes on where it was, with what it had in memory', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  await vm.shell('echo precious >/run/note')
  const before = await vm.isCounting()

  await vm.save()
  assert.equal(await vm.stateAndReason(), 'saved: its memory was saved')
  assert.equal((await vm.show()).status.pid, undefined)
  await world.assertCleanAudit()

  await vm.start()
  assert.equal(await vm.stateAndReason(), 'running: its saved memory was loaded')
  const after = await vm.isCounting()
  assert.ok(after > before && after < before + 600, `It counted from ${before} to ${after}.`)
  assert.equal(await vm.shell('cat /run/note'), 'precious')
  assert.equal(await vm.boots(), 1)
})

test('a VM that was saved while it was paused goes on as well', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const before = await vm.isCounting()
  await vm.pause()

  await vm.save()
  await vm.start()

  assert.equal(await vm.state(), 'running')
  assert.ok((await vm.isCounting()) > before)
})

test('saved memory survives the daemon, and is loaded once', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const before = await vm.isCounting()
  await vm.save()

  await world.daemon.kill9()
  await world.startDaemon()
  assert.equal(await vm.state(), 'saved')
  await vm.start()
  assert.ok((await vm.isCounting()) > before)

  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
})

test('saved memory can be thrown away; what fits only it cannot change before', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  await vm.isCounting()
  await vm.save()
  const { spec } = await vm.show()

  await assert.rejects(vm.apply({ ...spec, cpu: { count: 2 } }), { code: 'plan-refused' })
  await vm.discardSaved()
  assert.equal(await vm.stateAndReason(), 'shutoff: its saved memory was thrown away')
  await vm.apply({ ...spec, cpu: { count: 2 } })

  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('nproc'), '2')
})

test('a change that waits for the next boot waits through a save as well', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { disks: [{ name: 'data', size: '64MiB' }] })
  await vm.shell('echo precious >/run/note; echo kept | dd of=/dev/vda conv=notrunc,fsync')
  const { spec } = await vm.show()
  await vm.apply({ ...spec, cpu: { count: 2 }, devices: { ...spec.devices, sound: true } })

  await vm.save()
  await world.daemon.kill9()
  await world.startDaemon()
  await vm.start()

  assert.equal(await vm.shell('cat /run/note; nproc; head -c 5 /dev/vda'), 'precious\n1\nkept')
  const waiting = ['cpu.count', 'devices.sound']
  assert.deepEqual((await vm.show()).status.restartNeeded, waiting)
  await vm.powerOff()
  await vm.start()
  await vm.waitForLogin(2)
  assert.equal(await vm.shell('nproc'), '2')
  await world.assertCleanAudit()
})

test('where the disk is full, saving is refused and the guest runs on', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const before = await vm.isCounting()
  await using _full = await coverWithTmpfs(join(world.place.stateDir, 'saves'), '4m')

  await assert.rejects(vm.save(), {
    code: 'not-enough-space',
    message: 'The disk that saved memory goes to is full, so VM web1 was not saved.',
  })

  assert.equal(await vm.stateAndReason(), 'running: saving its memory did not succeed, so it goes on')
  assert.ok((await vm.isCounting()) > before)
  assert.equal(await vm.boots(), 1)
})
