import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

async function stateOf(world: SimulatedDaemon, name: string): Promise<string> {
  const { status } = await world.vm(name)
  return `${status.state}: ${status.reason}`
}

test('a saved VM starts from its memory, which is then gone', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')

  const saved = await world.call('saveVm', { params: { name: 'web1' }, query: { wait: 5 } })
  assert.equal(saved.state, 'succeeded')
  assert.equal(await stateOf(world, 'web1'), 'saved: its memory was saved')
  assert.equal(world.machine.saves.size, 1)
  await world.start('web1')

  assert.equal(await stateOf(world, 'web1'), 'running: its saved memory was loaded')
  assert.equal(world.machine.saves.size, 0)
})

test('a VM that waits for other hardware is saved with the old one, starts with that and goes on waiting', async () => {
  await using world = await openSimulatedDaemon()
  const params = { name: 'web1' }
  const specs = {
    disks: [
      { name: 'root', size: '1GiB' },
      { name: 'data', size: '1GiB' },
    ],
  }
  await world.createVm('web1', { ...specs, memory: { size: '256MiB' } })
  await world.start('web1')
  const before = world.process('web1').request.plan.argv
  const { spec } = await world.call('getVm', { params })
  const [root, data] = spec.disks
  assert.ok(root && data?.volume)
  const disks = [diskSpec.parse({ name: 'more', size: '1GiB' }), root]
  const memory = { ...spec.memory, size: 128 * 2 ** 20 }
  await world.call('applyVm', { params, body: { spec: { ...spec, disks, memory } } })
  const waiting = ['disks.data', 'disks.more', 'memory.size']

  const saved = await world.call('saveVm', { params, query: { wait: 5 } })
  assert.equal(saved.state, 'succeeded')
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, waiting)
  await assert.rejects(world.call('deleteVolume', { params: { pool: 'default', volume: data.volume } }), {
    code: 'in-use',
  })
  await world.start('web1')

  const restored = world.process('web1').request.plan.argv
  assert.deepEqual(restored.slice(0, before.length), before) // What loads the memory comes last.
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, waiting)
  await world.call('powerOffVm', { params })
  await world.start('web1')
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
  assert.equal((await world.vm('web1')).status.memoryBytes, 128 * 2 ** 20)
})

test('saved memory is loaded with the CPU that it was saved with, whatever the host says of the one that waits', async () => {
  await using world = await openSimulatedDaemon()
  const params = { name: 'web1' }
  await world.createVm('web1')
  await world.start('web1')
  const { spec } = await world.call('getVm', { params })
  const cpu = { ...spec.cpu, model: 'x86-64-v4' } // Which this host lacks; that is judged where there is KVM.
  await world.call('applyVm', { params, body: { spec: { ...spec, accelerator: 'kvm', cpu } } })
  await world.call('saveVm', { params, query: { wait: 5 } })

  await world.start('web1')

  assert.equal(await stateOf(world, 'web1'), 'running: its saved memory was loaded')
})

test('saving to a full disk leaves the VM running', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  world.machine.freeBytes = 0

  const job = await world.call('saveVm', { params: { name: 'web1' }, query: { wait: 5 } })

  assert.equal(job.error?.code, 'not-enough-space')
  assert.match(job.error?.detail ?? '', /is full, so VM web1 was not saved\.$/)
  assert.match(await stateOf(world, 'web1'), /^running: /)
  assert.equal((await world.call('getAudit', {})).clean, true)
})
