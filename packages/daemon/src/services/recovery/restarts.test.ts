/** A VM that was being started by itself when the daemon died, as the end of a revert is, runs again with the next daemon. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailpointName } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const waiting = { query: { wait: 60 } }

/** Once it is armed, a daemon that gets to this point does no more. */
function deathAt(name: FailpointName) {
  const reached = Promise.withResolvers<void>()
  let isArmed = false
  const failpoint = async (point: FailpointName) => {
    if (!isArmed || point !== name) return
    reached.resolve()
    await new Promise(() => {})
  }
  return {
    failpoint,
    reached: reached.promise,
    arm() {
      isArmed = true
    },
  }
}

async function openReverting(death: ReturnType<typeof deathAt>, memory = false): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ failpoint: death.failpoint })
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  await world.start('web1')
  const body = { name: 'one', description: '', quiesce: false, memory }
  const made = await world.call('createSnapshot', { ...waiting, params, body })
  assert.equal(made.state, 'succeeded')
  death.arm()
  await world.call('revertSnapshot', { params: { ...params, snapshot: 'one' }, body: { keep: false } })
  await death.reached
  return world
}

const isRunning = async (world: SimulatedDaemon) => (await world.vm('web1')).status.state === 'running'

for (const point of [
  'snapshot.revert.before-switch',
  'snapshot.revert.after-switch',
  'vm.start.before-intent',
  'vm.start.after-intent',
  'vm.start.before-launch',
  'vm.start.after-launch',
] as const satisfies readonly FailpointName[])
  test(`a VM that is brought back to a snapshot runs when the daemon died at ${point}`, async () => {
    const first = await openReverting(deathAt(point))

    await using second = await first.killAndFollow()

    await eventually(() => isRunning(second), 'it runs again')
    await second.call('powerOffVm', { params })
    assert.equal((await second.vm('web1')).status.state, 'shutoff')
  })

test('a VM whose saved memory went with the emulator that had loaded it is not started without', async () => {
  const first = await openReverting(deathAt('vm.restore.after-forget'), true)
  first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  await using second = await first.killAndFollow()

  const { state, reason } = (await second.vm('web1')).status
  assert.deepEqual([state, /its saved memory was loaded and is gone/.test(reason ?? '')], ['shutoff', true])
})

test('a VM with which three daemons died one after the other stays off, and says why', async () => {
  let world = await openReverting(deathAt('vm.start.after-launch'))

  for (let deaths = 1; deaths < 3; deaths++) {
    const death = deathAt('vm.start.after-launch')
    death.arm()
    world = await world.killAndFollow({ failpoint: death.failpoint })
    await death.reached
  }
  await using last = await world.killAndFollow()

  const { state, reason } = (await last.vm('web1')).status
  assert.deepEqual(
    [state, /the daemon ended while it was being started/.test(reason ?? '')],
    ['shutoff', true],
  )
})
