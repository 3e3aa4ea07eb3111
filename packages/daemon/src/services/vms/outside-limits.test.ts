/** Limits that an administrator sets in a VM's cgroup by hand: kept, told of, and given up when the spec says another one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { vmSpec } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const mib = 2 ** 20

/** A VM that runs with limits of its own, on which somebody has set two others by hand. */
async function openTouched(world: SimulatedDaemon) {
  const { uuid } = await world.createVm('web1', { cpu: { weight: 200 }, memory: { high: '900MiB' } })
  await world.start('web1')
  world.machine.memoryLimits.set(uuid, { high: 900 * mib, hard: 800 * mib })
  const process = world.process('web1')
  const plan = process.threadPlan ?? assert.fail('no plan')
  process.threadPlan = { ...plan, share: { weight: 200, quotaPercent: 50 } }
  return { uuid, process }
}

async function set(world: SimulatedDaemon, spec: Parameters<typeof vmSpec.parse>[0]) {
  await world.call('applyVm', { params, body: { spec: vmSpec.parse(spec) } })
}

test('limits that were set by hand are kept by the next daemon, which tells of them', async () => {
  await using first = await openSimulatedDaemon()
  const { uuid, process } = await openTouched(first)

  await using second = await first.killAndFollow()

  assert.deepEqual(second.machine.memoryLimits.get(uuid), {
    high: 900 * mib,
    hard: 800 * mib,
    swap: undefined,
  })
  assert.deepEqual(process.threadPlan?.share, { weight: 200, quotaPercent: 50 })
  const audit = await second.call('getAudit', {})
  assert.deepEqual(
    audit.entries.map(({ thing, detail }) => `${thing}: ${detail}`),
    [
      'limits: VM web1: memory.max of its cgroup was set to 838860800 by somebody else and stays so; Kvasir had written max.',
      'limits: VM web1: cpu.max of its cgroup was set to 50000 100000 by somebody else and stays so; Kvasir had written max 100000.',
    ],
  )
})

test('a change of one limit leaves those alone that somebody else has set, and one that it says is written', async () => {
  await using world = await openSimulatedDaemon()
  const { uuid, process } = await openTouched(world)

  await set(world, { cpu: { weight: 300 }, memory: { high: '700MiB' } })

  assert.deepEqual(process.threadPlan?.share, { weight: 300, quotaPercent: 50 })
  assert.deepEqual(world.machine.memoryLimits.get(uuid), {
    high: 700 * mib,
    hard: 800 * mib,
    swap: undefined,
  })
  await set(world, { cpu: { weight: 300, quotaPercent: 80 }, memory: { high: '700MiB', hard: '1GiB' } })
  assert.deepEqual(process.threadPlan?.share, { weight: 300, quotaPercent: 80 })
  assert.equal(world.machine.memoryLimits.get(uuid)?.hard, 1024 * mib)
  assert.deepEqual((await world.call('getAudit', {})).entries, [])
})

test('a daemon that died between writing a limit down and setting it is followed by one that sets it', async () => {
  await using first = await openSimulatedDaemon({
    failpoint: async (point) => {
      if (point === 'vm.change.after-row') throw new Error('the daemon dies here')
    },
  })
  const { uuid } = await first.createVm('web1', { memory: { high: '900MiB' } })
  await first.start('web1')
  await assert.rejects(set(first, { memory: { high: '700MiB' } }))

  await using second = await first.killAndFollow()

  assert.equal(second.machine.memoryLimits.get(uuid)?.high, 700 * mib)
  assert.deepEqual((await second.call('getAudit', {})).entries, [])
})
