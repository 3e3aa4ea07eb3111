import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

async function stateOf(world: SimulatedDaemon, name: string): Promise<string> {
  const { status } = await world.vm(name)
  return `${status.state}: ${status.reason}`
}

test('a VM is created shut off, started, and runs', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })

  const job = await world.start('web1')

  assert.equal(job.state, 'succeeded')
  assert.equal(await stateOf(world, 'web1'), 'running: it was started')
  assert.equal((await world.call('getAudit', {})).clean, true)
})

test('a name is given once', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')

  await assert.rejects(world.createVm('web1'), { code: 'name-taken' })
})

test('creating that fails leaves neither VM, volume nor UID', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.freeBytes = 0

  await assert.rejects(world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] }), {
    code: 'not-enough-space',
  })

  assert.deepEqual(await world.call('listVms', {}), [])
  assert.deepEqual(await world.call('listVolumes', {}), [])
  assert.equal((await world.call('getAudit', {})).clean, true)
})

test('a start that fails says why, and the VM is as it was', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  world.machine.nextLaunch = { kind: 'fails', error: new Error('out of luck') }

  const job = await world.start('web1')

  assert.equal(job.state, 'failed')
  assert.match(await stateOf(world, 'web1'), /^shutoff: the last start failed: out of luck/)
  assert.equal((await world.start('web1')).state, 'succeeded')
})

test('power-off ends a start that hangs, and the VM is shut off', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  world.machine.nextLaunch = { kind: 'hangs' }
  const started = await world.call('startVm', { params: { name: 'web1' }, query: {} })
  await eventually(async () => (await world.vm('web1')).status.state === 'starting', 'it is starting')

  await world.call('powerOffVm', { params: { name: 'web1' } })

  assert.equal(
    (await world.call('getJob', { params: { id: started.id }, query: { wait: 5 } })).state,
    'cancelled',
  )
  assert.match(await stateOf(world, 'web1'), /^shutoff: /)
})

test('a second start is refused while the first goes on', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  world.machine.nextLaunch = { kind: 'hangs' }
  await world.call('startVm', { params: { name: 'web1' }, query: {} })
  await eventually(async () => (await world.vm('web1')).status.state === 'starting', 'it is starting')

  await assert.rejects(world.start('web1'), { code: 'busy' })

  await world.call('powerOffVm', { params: { name: 'web1' } })
})

test('what the state forbids is refused with the state in the sentence', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')

  await assert.rejects(world.call('pauseVm', { params: { name: 'web1' } }), {
    code: 'wrong-state',
    message: 'VM web1 is shutoff, so it cannot be paused.',
  })
})

test('a guest that powers itself off leaves the VM shut off, by itself', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')

  world.process('web1').guestPowersOff()

  await eventually(async () => (await world.vm('web1')).status.state === 'shutoff', 'it is shut off')
  assert.match(await stateOf(world, 'web1'), /powered itself off/)
  assert.equal((await world.call('getAudit', {})).clean, true)
})

test('an emulator that is killed makes the VM crashed, with the signal', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')

  world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  await eventually(async () => (await world.vm('web1')).status.state === 'crashed', 'it has crashed')
  assert.match(await stateOf(world, 'web1'), /SIGKILL/)
  assert.equal((await world.vm('web1')).status.exit?.signal, 'SIGKILL')
})

test('a VM that is to be restarted when it crashes is, but not for ever', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { lifecycle: { onCrash: 'restart' } })
  await world.start('web1')

  for (let round = 0; round < 6; round++) {
    const process = world.process('web1')
    process.dies({ code: 1, signal: undefined })
    await eventually(async () => {
      const { state } = (await world.vm('web1')).status
      return state === 'crashed' || (state === 'running' && world.process('web1') !== process)
    }, 'it runs again, or stays down')
  }

  assert.match(await stateOf(world, 'web1'), /^crashed: .*after 5 restarts/)
})

test('a panic pauses the VM by default', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')

  world.process('web1').guestPanics()

  await eventually(async () => (await world.vm('web1')).status.state === 'paused', 'it is paused')
  assert.match(await stateOf(world, 'web1'), /panicked/)
})

test('a watchdog that fires is told in the status, whatever follows from it', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { watchdog: true } })
  await world.start('web1')

  world.process('web1').guestHangsWatchdog('reset')
  await eventually(async () => /watchdog/.test(await stateOf(world, 'web1')), 'it says that it was reset')
  assert.equal(await stateOf(world, 'web1'), "running: the guest's watchdog fired, and the guest was reset")

  world.process('web1').guestHangsWatchdog('pause')
  await eventually(async () => (await world.vm('web1')).status.state === 'paused', 'it is paused')
  assert.equal(await stateOf(world, 'web1'), "paused: the guest's watchdog fired")
})

test('what follows from a reboot and from a watchdog changes while the guest runs, and is said again by the next daemon', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1')
  await world.start('web1')
  const { uuid, spec } = await world.vm('web1')
  const { actions } = world.machine
  const params = { name: 'web1' }
  const apply = async (lifecycle: Partial<typeof spec.lifecycle>) =>
    await world.call('applyVm', {
      params,
      body: { spec: { ...spec, lifecycle: { ...spec.lifecycle, ...lifecycle } } },
    })

  const { status } = await apply({ onReboot: 'power-off', onWatchdog: 'power-off' })
  const told = actions.get(uuid)
  const { id } = await world.call('saveVm', { params })
  await world.call('getJob', { params: { id }, query: { wait: 5 } })
  await apply({ onWatchdog: 'none' })
  await world.start('web1')
  const restored = actions.get(uuid)
  actions.clear()
  await using next = await world.killAndFollow()
  await eventually(async () => next.machine.actions.has(uuid), 'the next daemon said it')

  assert.deepEqual(status.restartNeeded, [])
  assert.deepEqual(told, { reboot: 'shutdown', watchdog: 'pause' })
  assert.deepEqual([restored, actions.get(uuid)], [{ reboot: 'reset', watchdog: 'none' }, restored])
})

test('a full pool pauses the VM and says so; resuming goes on', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  await world.start('web1')

  world.process('web1').diskFails('disk-data', 'nospace')
  await eventually(async () => (await world.vm('web1')).status.state === 'paused', 'it is paused')

  assert.match(await stateOf(world, 'web1'), /no space/)
  await world.call('resumeVm', { params: { name: 'web1' } })
  assert.equal(await stateOf(world, 'web1'), 'running: it was resumed')
})

test('an emulator that does not answer makes the VM unknown, and nothing is started from there', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.commandTimeoutMs = 10
  await world.createVm('web1')
  await world.start('web1')
  world.process('web1').goesMute()

  await world.daemon.supervisor.find('web1').reconcile()

  assert.match(await stateOf(world, 'web1'), /^unknown: /)
  await assert.rejects(world.start('web1'), { code: 'wrong-state' })
  world.process('web1').speaksAgain()
  await world.daemon.supervisor.find('web1').reconcile()
  assert.match(await stateOf(world, 'web1'), /^running: /)
})

test('shutdown waits for the guest, and gives up with the VM running', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { agent: false } })
  await world.start('web1')
  world.process('web1').obeysPowerButton = false
  const body = { mode: 'auto' as const, escalate: false, timeoutSeconds: 0.05 }

  const job = await world.call('shutdownVm', { params: { name: 'web1' }, query: { wait: 5 }, body })

  assert.equal(job.error?.code, 'guest-refused')
  assert.match(await stateOf(world, 'web1'), /^running: /)
})

test('shutdown that may escalate powers off', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { agent: false } })
  await world.start('web1')
  world.process('web1').obeysPowerButton = false
  const body = { mode: 'acpi' as const, escalate: true, timeoutSeconds: 0.05 }

  const job = await world.call('shutdownVm', { params: { name: 'web1' }, query: { wait: 5 }, body })

  assert.equal(job.state, 'succeeded')
  assert.equal(await stateOf(world, 'web1'), 'shutoff: it was powered off')
})

test('a linked clone freezes the base under both, and the last one takes it along', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  const body = { name: 'web2', mode: 'linked' as const }

  const job = await world.call('cloneVm', { params: { name: 'web1' }, query: { wait: 5 }, body })

  assert.equal(job.result, 'web2')
  const volumes = await world.call('listVolumes', {})
  assert.deepEqual(
    volumes.map((volume) => [volume.name, volume.base]).sort((a, b) => String(a).localeCompare(String(b))),
    [
      ['web1-data', 'web1-data.base'],
      ['web1-data.base', undefined],
      ['web2-data', 'web1-data.base'],
    ],
  )
  await assert.rejects(
    world.call('deleteVolume', { params: { pool: 'default', volume: 'web1-data.base' } }),
    { code: 'in-use' },
  )
  for (const name of ['web1', 'web2'])
    await world.call('deleteVm', { params: { name }, query: { disks: true } })
  assert.deepEqual(await world.call('listVolumes', {}), [])
  assert.equal(world.machine.volumes.size, 0)
})

test('a change is refused against another revision, and applied against its own', async () => {
  await using world = await openSimulatedDaemon()
  const vm = await world.createVm('web1')
  const spec = { ...vm.spec, description: 'the web server' }

  await assert.rejects(world.call('applyVm', { params: { name: 'web1' }, body: { spec }, ifMatch: 7 }), {
    code: 'revision-mismatch',
  })
  const changed = await world.call('applyVm', { params: { name: 'web1' }, body: { spec }, ifMatch: 1 })

  assert.equal(changed.revision, 2)
  assert.equal(changed.spec.description, 'the web server')
})

test('a change for the next boot is listed as waiting while the VM runs, with the reason', async () => {
  await using world = await openSimulatedDaemon()
  const vm = await world.createVm('web1')
  await world.start('web1')
  const spec = { ...vm.spec, cpu: { ...vm.spec.cpu, count: 2 } }

  await world.call('applyVm', { params: { name: 'web1' }, body: { spec } })

  const { restartNeeded, restartReasons } = (await world.vm('web1')).status
  assert.deepEqual(restartNeeded, ['cpu.count'])
  assert.match(restartReasons?.['cpu.count'] ?? '', /maxCount|max/)
  assert.deepEqual(Object.keys(restartReasons ?? {}), ['cpu.count'])
})
