/** vCPUs that come and go while the guest runs, guests that keep them, clients that disagree, and daemons that die in between. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KvasirError, type Vm, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }

async function openRunning(cpu: NonNullable<VmSpecInput['cpu']>): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  world.machine.hasKvm = true
  await world.createVm('web1', { cpu })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  return world
}

async function setCpu(world: SimulatedDaemon, cpu: NonNullable<VmSpecInput['cpu']>): Promise<Vm> {
  return await world.call('applyVm', { params, body: { spec: vmSpec.parse({ cpu }) } })
}

async function ended(world: SimulatedDaemon, vm: Vm) {
  assert.ok(vm.status.job, 'a job was begun')
  return await world.call('getJob', { params: { id: vm.status.job }, query: { wait: 5 } })
}

test('vCPUs are plugged while the guest runs, and the job says how many the guest uses', async () => {
  await using world = await openRunning({ count: 1, max: 4 })

  const plan = await world.call('planVm', {
    params,
    body: { spec: vmSpec.parse({ cpu: { count: 3, max: 4 } }) },
  })
  const job = await ended(world, await setCpu(world, { count: 3, max: 4 }))

  assert.deepEqual(
    plan.changes.map(({ field, effect }) => [field, effect]),
    [['cpu.count', 'live']],
  )
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.equal(job.outcome, 'It has 3 of 4 vCPUs; its guest uses 3.')
  const { status } = await world.vm('web1')
  assert.deepEqual(status.cpu, { model: status.accelerator === 'kvm' ? 'host' : 'max', count: 3, max: 4 })
  assert.deepEqual(status.restartNeeded, [])
  assert.equal(status.job, undefined)
})

test('the guest is asked for its last vCPUs one after another', async () => {
  await using world = await openRunning({ count: 4, max: 4 })

  const job = await ended(world, await setCpu(world, { count: 2, max: 4 }))

  assert.equal(job.outcome, 'It has 2 of 4 vCPUs; its guest let go of 2.')
  assert.equal(world.process('web1').vcpuCount, 2)
  assert.equal((await world.vm('web1')).status.cpu?.count, 2)
})

test('a guest that refuses keeps its vCPUs: the job says so, and the rest waits for the next boot', async () => {
  await using world = await openRunning({ count: 4, max: 4 })
  world.process('web1').vcpuRelease = 'refusing'

  const job = await ended(world, await setCpu(world, { count: 1, max: 4 }))

  assert.equal(job.error?.code, 'guest-refused')
  assert.match(job.error?.detail ?? '', /keeps 4 of 4 vCPUs: it refuses .* has 1 from its next boot/)
  const { spec, status } = await world.vm('web1')
  assert.deepEqual([spec.cpu.count, status.cpu?.count, status.restartNeeded], [1, 4, ['cpu.count']])
})

test('what a guest kept is asked of it again by the same words, and then it goes', async () => {
  await using world = await openRunning({ count: 2, max: 2 })
  world.process('web1').vcpuRelease = 'refusing'
  const first = await setCpu(world, { count: 1, max: 2 })
  await ended(world, first)
  world.process('web1').vcpuRelease = 'willing'

  const again = await setCpu(world, { count: 1, max: 2 })
  const job = await ended(world, again)

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.equal(again.revision, first.revision)
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
})

test('a count above the maximum is refused, and above the maximum of the boot it waits for the next', async () => {
  await using world = await openRunning({ count: 1, max: 2 })

  await assert.rejects(
    setCpu(world, { count: 3, max: 2 }),
    (error) => error instanceof KvasirError && /cannot have 3 vCPUs.*cpu\.max is 2/.test(error.message),
  )
  const grown = await setCpu(world, { count: 3, max: 4 })

  assert.deepEqual(grown.status.restartNeeded, ['cpu.count', 'cpu.max'])
  assert.equal(grown.status.job, undefined)
})

test('under TCG vCPUs come and do not go: fewer wait for the next boot, with the reason', async () => {
  await using world = await openRunning({ count: 1, max: 4 })
  await world.call('powerOffVm', { params })
  world.machine.hasKvm = false
  await world.start('web1')

  const job = await ended(world, await setCpu(world, { count: 3, max: 4 }))
  const spec = vmSpec.parse({ cpu: { count: 2, max: 4 } })
  const plan = await world.call('planVm', { params, body: { spec } })
  const fewer = await setCpu(world, { count: 2, max: 4 })

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.match(plan.changes[0]?.reason ?? '', /^QEMU under TCG does not survive/)
  assert.deepEqual([fewer.status.restartNeeded, fewer.status.cpu?.count], [['cpu.count'], 3])
  assert.equal((await setCpu(world, { count: 2, max: 4 })).status.job, undefined)
})

test('a change that cannot be made now takes back the one that is under way', async () => {
  await using world = await openRunning({ count: 4, max: 4 })
  world.process('web1').vcpuRelease = 'silent'
  const first = await setCpu(world, { count: 1, max: 4 })

  await setCpu(world, { count: 6, max: 8 })
  world.process('web1').vcpuRelease = 'willing'

  assert.equal((await ended(world, first)).state, 'cancelled')
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['cpu.count', 'cpu.max'])
})

test('without a maximum the count waits for the next boot', async () => {
  await using world = await openRunning({ count: 2 })

  assert.deepEqual((await setCpu(world, { count: 1 })).status.restartNeeded, ['cpu.count'])
})

test('of two clients the later one decides, and the job of the other is told so', async () => {
  await using world = await openRunning({ count: 4, max: 4 })
  world.process('web1').vcpuRelease = 'silent'
  const first = await setCpu(world, { count: 1, max: 4 })
  const second = await setCpu(world, { count: 3, max: 4 })
  world.process('web1').vcpuRelease = 'willing'
  world.process('web1').askForVcpu()

  const [one, two] = [await ended(world, first), await ended(world, second)]

  assert.equal(one.state, 'cancelled', JSON.stringify(one))
  assert.match(one.error?.detail ?? '', /meanwhile told to have another number/)
  assert.equal(two.state, 'succeeded', JSON.stringify(two.error))
  assert.equal((await world.vm('web1')).status.cpu?.count, 3)
})

test('a daemon that dies between two vCPUs is followed by one that knows the real count and goes on', async () => {
  let dies = (): void => {}
  const dead = new Promise<void>((resolve) => {
    dies = resolve
  })
  const first = await openSimulatedDaemon({
    failpoint: async (name) => {
      if (name !== 'vm.vcpus.after-plug') return
      dies()
      await new Promise<never>(() => {})
    },
  })
  await first.createVm('web1', { cpu: { count: 1, max: 4 } })
  await first.start('web1')
  await setCpu(first, { count: 3, max: 4 })
  await dead
  assert.equal(first.process('web1').vcpuCount, 2)

  await using second = await first.killAndFollow()

  await eventually(async () => (await second.vm('web1')).status.cpu?.count === 3, 'the rest was plugged')
  assert.equal(second.process('web1').vcpuCount, 3)
  assert.deepEqual((await second.vm('web1')).status.restartNeeded, [])
})

test('an emulator that answers the next daemon late has its vCPUs brought to their number then', async () => {
  const first = await openRunning({ count: 4, max: 4 })
  first.process('web1').vcpuRelease = 'silent'
  await setCpu(first, { count: 2, max: 4 })
  first.process('web1').vcpuRelease = 'willing'
  first.machine.commandTimeoutMs = 10
  first.process('web1').goesMute()
  await using second = await first.killAndFollow()
  assert.equal((await second.vm('web1')).status.state, 'unknown')
  second.process('web1').speaksAgain()

  await second.daemon.supervisor.check()

  await eventually(async () => second.process('web1').vcpuCount === 2, 'the guest was asked')
  await eventually(async () => (await second.vm('web1')).status.cpu?.count === 2, 'it was noticed')
})

test('what the guest does by itself, and what a daemon missed, is seen in the emulator', async () => {
  const first = await openRunning({ count: 3, max: 4 })
  first.process('web1').askForVcpu()
  await eventually(async () => (await first.vm('web1')).status.cpu?.count === 2, 'it was heard of')
  first.process('web1').vcpuCount = 4

  await using second = await first.killAndFollow()

  const { status } = await second.vm('web1')
  assert.equal(status.cpu?.count, 4)
  assert.deepEqual(status.restartNeeded, ['cpu.count'])
})

test('a VM that is cut off ends the wait, and its next boot has what its spec says', async () => {
  await using world = await openRunning({ count: 4, max: 4 })
  world.process('web1').vcpuRelease = 'silent'
  const asked = await setCpu(world, { count: 2, max: 4 })

  await world.call('powerOffVm', { params })
  const job = await ended(world, asked)
  await world.start('web1')

  assert.equal(job.error?.code, 'wrong-state')
  assert.equal(world.process('web1').vcpuCount, 2)
})

test('memory is saved with the vCPUs that a guest kept, and goes on with them', async () => {
  await using world = await openRunning({ count: 2, max: 2 })
  world.process('web1').vcpuRelease = 'refusing'
  await ended(world, await setCpu(world, { count: 1, max: 2 }))

  const job = await world.call('saveVm', { params, query: { wait: 5 } })
  await world.start('web1')

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.match(world.process('web1').request.plan.argv.join(' '), /-smp cpus=2,.*maxcpus=2/)
  const { spec, status } = await world.vm('web1')
  assert.deepEqual([spec.cpu.count, status.cpu?.count, status.restartNeeded], [1, 2, ['cpu.count']])
})
