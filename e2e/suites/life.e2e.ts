/** The life of a VM, from creation to deletion, as its owner sees it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { needs } from '../../tools/require.ts'
import { openWorld } from '../machine/world.ts'

const skip = needs('root', 'qemu')

test('a VM is created, boots, runs a command, is powered off and deleted', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1', { cpu: { count: 2 } })
  assert.equal(await vm.state(), 'shutoff')

  await vm.start()
  await vm.waitForLogin()
  assert.equal(await vm.shell('nproc'), '2')
  assert.equal(await vm.state(), 'running')
  await world.assertCleanAudit()

  await vm.powerOff()
  assert.equal(await vm.stateAndReason(), 'shutoff: it was powered off')

  await vm.delete()
  await assert.rejects(vm.show(), { code: 'vm-not-found' })
})

test('a paused guest stands still and goes on where it was', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const before = await vm.isCounting()

  await vm.pause()
  assert.equal(await vm.stateAndReason(), 'paused: it was paused')
  await assert.rejects(vm.run('true'), { code: 'wrong-state' })
  await assert.rejects(vm.pause(), {
    code: 'wrong-state',
    message: 'VM web1 is paused, so it cannot be paused.',
  })
  await assert.rejects(vm.start(), {
    code: 'wrong-state',
    message: 'VM web1 is paused, so it cannot be started.',
  })

  await vm.resume()
  assert.equal(await vm.state(), 'running')
  assert.ok((await vm.isCounting()) > before)
  assert.equal(await vm.boots(), 1)
})

test('reset begins anew, also from a pause', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  const pid = await vm.pid()

  await vm.reset()
  await vm.waitForLogin(2)
  await vm.pause()
  await vm.reset()
  await vm.waitForLogin(3)

  assert.equal(await vm.state(), 'running')
  assert.equal(await vm.pid(), pid)
})

test('reboot goes by the guest agent, and by the power button where there is none', { skip }, async (t) => {
  await using world = await openWorld(t)
  const byAgent = await world.bootTiny('agent')
  const byButton = await world.bootTiny('button', { devices: { agent: false } })
  const pid = await byButton.pid()

  await byAgent.isCounting()
  await byAgent.reboot()
  await byAgent.waitForLogin(2)
  await byButton.reboot()
  await byButton.waitForLogin(2)

  assert.equal(await byAgent.state(), 'running')
  assert.equal(await byButton.state(), 'running')
  assert.equal(await byButton.pid(), pid)
})

for (const mode of ['acpi', 'agent', 'auto'] as const) {
  test(`a guest asked to shut down (${mode}) does`, { skip }, async (t) => {
    await using world = await openWorld(t)
    const vm = await world.bootTiny('web1')
    await vm.isCounting()

    await vm.shutdown({ mode, timeoutSeconds: 30 })

    assert.equal(await vm.stateAndReason(), 'shutoff: it was shut down on request')
  })
}

test('a guest that ignores the power button runs on, or is powered off where that was asked', {
  skip,
}, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1')
  await vm.shell('kill "$(cat /run/acpid.pid)"')

  await assert.rejects(vm.shutdown({ mode: 'acpi', timeoutSeconds: 2 }), {
    code: 'guest-refused',
    message: 'VM web1 was asked to shut down by the power button and did not within 2 s, so it runs on.',
  })
  assert.equal(await vm.state(), 'running')
  await vm.isCounting()

  await vm.shutdown({ mode: 'acpi', timeoutSeconds: 1, escalate: true })
  assert.equal(await vm.stateAndReason(), 'shutoff: it was powered off')
})

test('a guest without an agent cannot be shut down by one', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('web1', { devices: { agent: false } })

  await assert.rejects(vm.shutdown({ mode: 'agent', timeoutSeconds: 5 }), { code: 'guest-agent-unavailable' })

  assert.equal(await vm.state(), 'running')
})

test('a VM that is being started can be powered off', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.createTiny('web1')

  const started = vm.start().catch((error: unknown) => error)
  await vm.untilState('starting', { withinMs: 2_000 }).catch(() => undefined)
  await vm.powerOff()
  await started

  await vm.untilState('shutoff')
  await vm.start()
  await vm.waitForLogin(1)
})

test('a microvm boots the same guest', { skip }, async (t) => {
  await using world = await openWorld(t)
  const vm = await world.bootTiny('micro', { machine: { type: 'microvm' } })

  await vm.isCounting()
  await vm.shutdown({ timeoutSeconds: 30 })

  assert.equal(await vm.state(), 'shutoff')
})
