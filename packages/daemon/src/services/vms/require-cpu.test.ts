/** CPUs that the host cannot give whole: refused when they are asked for, and no reason to hold up a VM that has had one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

test('a VM whose host has lost a flag of its CPU starts, is loaded and is changed as before', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cpu: { model: 'Nehalem-v1' } })
  await world.start('web1')
  world.machine.lostCpuFlags = ['pcid']
  await world.call('saveVm', { params, query: { wait: 5 } })

  const restored = await world.start('web1')
  await world.call('powerOffVm', { params })
  const started = await world.start('web1')
  const { spec } = await world.vm('web1')
  await world.call('applyVm', {
    params,
    body: { spec: { ...spec, memory: { ...spec.memory, size: 2 ** 28 } } },
  })

  assert.deepEqual([restored.state, started.state], ['succeeded', 'succeeded'])
})

test('a CPU that the host cannot give whole is refused to whoever asks for it', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.lostCpuFlags = ['pcid']
  const lacking = { code: 'unsupported', message: /lacks the flag pcid/ }

  await assert.rejects(world.createVm('web1', { cpu: { model: 'Nehalem-v1' } }), lacking)
  await world.createVm('web1')
  const { spec } = await world.vm('web1')
  const cpu = { ...spec.cpu, model: 'Nehalem-v1' }
  await assert.rejects(world.call('applyVm', { params, body: { spec: { ...spec, cpu } } }), lacking)
})
