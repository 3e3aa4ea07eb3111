/** The simulated host has the cores 0+4, 1+5 on node 0 and 2+6, 3+7 on node 1; a dedicated VM of two vCPUs gets 3+7. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const dedicated = { cpu: { count: 2, placement: 'dedicated' as const } }

/** The CPUs of all threads of a VM, as the simulated kernel has them. */
async function cpusOf(world: SimulatedDaemon, name: string): Promise<readonly string[]> {
  const driver = world.daemon.supervisor.find(name)
  const statistics = await driver.view().emulator?.statistics()
  return [...new Set(statistics?.vcpus.map(({ cpus }) => cpus))]
}

async function settles(ask: () => Promise<readonly string[]>, wanted: readonly string[]): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await ask()).join() === wanted.join()) return
    await pause(20)
  }
  assert.deepEqual(await ask(), wanted)
}

test('a VM that runs leaves the CPUs of a dedicated one, and comes back when that has ended', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web', { cpu: { count: 2 } })
  await world.createVm('db', dedicated)
  await world.start('web')
  assert.deepEqual(await cpusOf(world, 'web'), ['0-7'])

  await world.start('db')
  assert.deepEqual(await cpusOf(world, 'web'), ['0-2,4-6'])
  await world.call('powerOffVm', { params: { name: 'db' } })

  await settles(() => cpusOf(world, 'web'), ['0-7'])
})

test('a VM that starts beside a dedicated one keeps off its CPUs, also after a restart of the daemon', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('db', dedicated)
  await world.createVm('web', { cpu: { count: 1 } })
  await world.start('db')

  await world.start('web')
  assert.deepEqual(await cpusOf(world, 'web'), ['0-2,4-6'])
  await using next = await world.killAndFollow()

  assert.deepEqual(await cpusOf(next, 'web'), ['0-2,4-6'])
  assert.deepEqual((await next.call('getAudit', {})).entries, [])
})

test('a VM that is pinned to nothing but CPUs of a dedicated one does not start', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('db', dedicated)
  await world.createVm('web', { cpu: { count: 1, pin: { vcpus: { 0: '3,7' } } } })
  await world.start('db')

  const job = await world.start('web')

  assert.equal(job.state, 'failed')
  assert.match(job.error?.detail ?? '', /vCPU 0 of VM web .* 3,7, of which none can be used now/)
  assert.equal((await world.vm('web')).status.state, 'shutoff')
})

test('a VM that does not answer holds up no dedicated one', async () => {
  await using world = await openSimulatedDaemon({ hurry: 5 })
  await world.createVm('web', { cpu: { count: 1 } })
  await world.createVm('db', dedicated)
  await world.start('web')
  world.machine.commandTimeoutMs = 2_900
  world.process('web').goesMute()

  const job = await world.call('startVm', { params: { name: 'db' }, query: { wait: 300 } })

  assert.equal(job.state, 'succeeded')
})
