/** Starts that come to nothing: the VM is what it was, and says why it does not run. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailpointName } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

async function crash(world: SimulatedDaemon): Promise<void> {
  await world.createVm('web1')
  await world.start('web1')
  world.process('web1').dies({ code: undefined, signal: 'SIGKILL' })
  await eventually(async () => (await world.vm('web1')).status.state === 'crashed', 'it has crashed')
}

test('a start that is refused before anything is launched is told by the VM', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  const { volumes } = world.daemon.context.ports.store
  const row = volumes.find('default', 'web1-data')
  assert.ok(row)
  volumes.remove(row.id)

  const job = await world.start('web1')

  assert.equal(job.error?.code, 'volume-not-found')
  const { state, reason } = (await world.vm('web1')).status
  assert.equal(`${state}: ${reason}`, `shutoff: the last start failed: ${job.error?.detail}`)
})

test('a crashed VM whose start fails is still crashed, since then and with its exit', async () => {
  await using world = await openSimulatedDaemon()
  await crash(world)
  const before = (await world.vm('web1')).status
  world.machine.nextLaunch = { kind: 'fails', error: new Error('out of luck') }

  await world.start('web1')

  const { state, reason, since, exit } = (await world.vm('web1')).status
  assert.deepEqual([state, since, exit], ['crashed', before.since, before.exit])
  assert.equal(reason, `${before.reason}; the last start failed: out of luck`)
})

test('a VM that runs tells nothing of starts that failed before', async () => {
  await using world = await openSimulatedDaemon()
  await crash(world)
  world.machine.nextLaunch = { kind: 'fails', error: new Error('out of luck') }
  await world.start('web1')

  await world.start('web1')
  await world.call('powerOffVm', { params: { name: 'web1' } })

  const { state, reason, exit } = (await world.vm('web1')).status
  assert.deepEqual([state, reason, exit], ['shutoff', 'it was powered off', undefined])
})

for (const point of ['vm.start.after-intent', 'vm.start.after-launch'] as const)
  test(`a start of a crashed VM that a dying daemon left at ${point} leaves it crashed, with the reason`, async () => {
    const death = dyingAt(point)
    const first = await openSimulatedDaemon({ failpoint: death.failpoint })
    await crash(first)
    const before = (await first.vm('web1')).status
    death.arm()
    await first.call('startVm', { params: { name: 'web1' }, query: {} })
    await death.reached

    await using second = await first.killAndFollow()

    const { state, reason, since, exit } = (await second.vm('web1')).status
    assert.deepEqual([state, since, exit], ['crashed', before.since, before.exit])
    assert.equal(
      reason,
      `${before.reason}; the last start failed: the daemon ended while it was being started`,
    )
    assert.equal((await second.call('getAudit', {})).clean, true)
    assert.equal((await second.start('web1')).state, 'succeeded')
  })

test('a restore that a dying daemon left before its guest ran leaves the VM saved, with the reason', async () => {
  const death = dyingAt('vm.start.after-launch')
  const first = await openSimulatedDaemon({ failpoint: death.failpoint })
  await first.createVm('web1')
  await first.start('web1')
  await first.call('saveVm', { params: { name: 'web1' }, query: { wait: 5 } })
  death.arm()
  await first.call('startVm', { params: { name: 'web1' }, query: {} })
  await death.reached

  await using second = await first.killAndFollow()

  const { state, reason } = (await second.vm('web1')).status
  assert.match(`${state}: ${reason}`, /^saved: its memory was saved; the last start failed: the daemon ended/)
  assert.equal((await second.start('web1')).state, 'succeeded')
})

/** Stops the daemon's work at a failpoint for ever once it is armed, as a kill there would. */
function dyingAt(name: FailpointName) {
  const reached = Promise.withResolvers<void>()
  let isArmed = false
  return {
    reached: reached.promise,
    arm: () => {
      isArmed = true
    },
    failpoint: async (point: FailpointName) => {
      if (point !== name || !isArmed) return
      reached.resolve()
      await new Promise(() => {})
    },
  }
}
