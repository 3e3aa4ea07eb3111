/** SPICE and keys of a VM on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

test('SPICE has a new password for who asks, for two minutes, and none without SPICE', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { spice: true } })
  await assert.rejects(world.call('spicePassword', { params }), { code: 'wrong-state' })
  await world.start('web1')

  const before = Date.parse(world.machine.clock.now())
  const first = await world.call('spicePassword', { params })
  const second = await world.call('spicePassword', { params })

  const { uuid, status } = await world.vm('web1')
  assert.notEqual(first.password, second.password)
  assert.equal(world.machine.spicePasswords.get(uuid), second.password)
  const lifeMs = Date.parse(first.expiresAt) - before
  assert.ok(lifeMs >= 120_000 && lifeMs < 180_000, `It lives for ${lifeMs} ms.`)
  assert.match(status.spiceSocket ?? '', /\/share\/spice\.sock$/)

  await world.createVm('web2')
  await world.start('web2')
  await assert.rejects(world.call('spiceTicket', { params: { name: 'web2' } }), {
    code: 'unsupported',
    message: /was started without SPICE \(devices\.spice\)/,
  })
})

test('keys reach a guest that runs, and are refused for one that does not or has no keyboard', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  const body = { keys: ['ctrl' as const, 'alt' as const, 'delete' as const], holdMs: 100 }
  await world.start('web1')
  const { uuid } = await world.vm('web1')

  await world.call('sendKeys', { params, body })

  const log = Buffer.from(world.machine.logs.get(uuid)?.serial ?? []).toString()
  assert.match(log, /pressed: ctrl alt delete/)
  await world.call('pauseVm', { params })
  await assert.rejects(world.call('sendKeys', { params, body }), {
    message: 'VM web1 is paused, so it cannot be typed to.',
  })
})

test('a microvm has keys where it was started with a keyboard', async () => {
  await using world = await openSimulatedDaemon()
  const machine = { type: 'microvm' as const }
  const boot = { kernel: { kernel: '/boot/vmlinuz' } }
  await world.createVm('web1', { machine, boot, devices: { keyboard: 'virtio' } })
  await world.createVm('web2', { machine, boot })
  const body = { keys: ['a' as const], holdMs: 100 }
  await world.start('web1')
  await world.start('web2')

  await world.call('sendKeys', { params, body })

  const { uuid } = await world.vm('web1')
  assert.match(Buffer.from(world.machine.logs.get(uuid)?.serial ?? []).toString(), /pressed: a/)
  await assert.rejects(world.call('sendKeys', { params: { name: 'web2' }, body }), {
    message: /VM web2 is a microvm and was started without a keyboard/,
  })
})
