/** Pins, shares and policies: refused, planned, given at a start and while the guest runs, and put right by the next daemon. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newNetwork, type VmSpecInput, vmSpec } from '@kvasir/contract'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

type Cpu = NonNullable<VmSpecInput['cpu']>

const params = { name: 'web1' }

async function set(world: SimulatedDaemon, cpu: Cpu) {
  return await world.call('applyVm', { params, body: { spec: vmSpec.parse({ cpu: { count: 2, ...cpu } }) } })
}

test('a VM that asks for nothing is started without a plan, and one that is tuned with it', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cpu: { count: 2 } })
  await world.start('web1')
  assert.equal(world.process('web1').threadPlan, undefined)
  await world.call('powerOffVm', { params })

  await set(world, { pin: { vcpus: { 1: '2-3' } }, weight: 300 })
  await world.start('web1')

  assert.deepEqual(world.process('web1').request.threads?.layout.vcpus, new Map([[1, [2, 3]]]))
  assert.equal(world.process('web1').threadPlan?.share.weight, 300)
})

test('a change counts while the guest runs, the plan says so, and taking it back does too', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cpu: { count: 2 } })
  await world.start('web1')
  const body = { spec: vmSpec.parse({ cpu: { count: 2, pin: { vcpus: { 0: '3' } } } }) }

  const plan = await world.call('planVm', { params, body })
  await world.call('applyVm', { params, body })

  assert.deepEqual(
    plan.changes.map(({ field, effect }) => `${field} ${effect}`),
    ['cpu.pin live'],
  )
  assert.deepEqual(world.process('web1').threadPlan?.layout.vcpus.get(0), [3])
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
  await set(world, {})
  assert.equal(world.process('web1').threadPlan?.layout.vcpus.size, 0)
})

test('CPUs that the host lacks are refused, by number, and nothing changes', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.offlineCpus = [5]
  await world.createVm('web1', { cpu: { count: 2 } })

  await assert.rejects(set(world, { pin: { emulator: '5-9' } }), {
    code: 'unsupported',
    message: /CPUs 8-9, which do not exist/,
  })
  await assert.rejects(set(world, { pin: { emulator: '5' } }), {
    code: 'unsupported',
    message: /CPU 5, which is offline/,
  })
  await assert.rejects(set(world, { pin: { vcpus: { 2: '0' } } }), { code: 'plan-refused' })
  await assert.rejects(world.createVm('web2', { cpu: { cpus: '64' } }), { code: 'unsupported' })
  assert.equal((await world.vm('web1')).spec.cpu.pin, undefined)
})

test('a VM whose CPU has gone offline starts on those that are left, and can still be described', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cpu: { count: 2, pin: { vcpus: { 0: '4-5' } } } })
  world.machine.offlineCpus = [5]

  const { spec } = await world.vm('web1')
  await world.call('applyVm', { params, body: { spec: { ...spec, description: 'old' } } })
  await world.start('web1')

  assert.deepEqual(world.process('web1').threadPlan?.layout.vcpus.get(0), [4])
  await world.call('powerOffVm', { params })
  world.machine.offlineCpus = [4, 5]
  const job = await world.start('web1')
  assert.equal(job.error?.code, 'unsupported')
  assert.match(job.error?.detail ?? '', /CPUs 4-5, of which none can be used now/)
})

test('a policy that the kernel forbids is refused while the guest runs, and at the start', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.allowsRealTime = false
  await world.createVm('web1', { cpu: { count: 2, weight: 200 } })
  await world.start('web1')

  await assert.rejects(set(world, { weight: 200, scheduler: { policy: 'fifo' } }), { code: 'unsupported' })

  assert.equal(world.process('web1').threadPlan?.scheduler.policy, 'other')
  assert.equal((await world.vm('web1')).spec.cpu.scheduler, undefined)
  await world.call('powerOffVm', { params })
  await set(world, { scheduler: { policy: 'rr', priority: 5 } })
  const job = await world.start('web1')
  assert.equal(job.error?.code, 'unsupported')
})

test('the status tells of each thread, and of what a host without controllers cannot enforce', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.controllers = []
  await world.createVm('web1', { cpu: { count: 2, quotaPercent: 50, pin: { vcpus: { 1: '6' } } } })
  await world.start('web1')
  await world.vm('web1')
  await eventually(async () => (await world.vm('web1')).status.vcpus !== undefined, 'it was measured')

  const { status } = await world.vm('web1')
  assert.equal(status.vcpus?.[1]?.cpus, '6')
  assert.equal(status.emulatorThread?.cpus, '0-7')
  assert.match((status.cageLimits ?? []).join('\n'), /its quota of 50 % of a CPU is not enforced/)
})

test('what was moved while the daemon was away is seen by the audit and put right by the next daemon', async () => {
  await using first = await openSimulatedDaemon()
  await first.createVm('web1', { cpu: { count: 2, pin: { vcpus: { 0: '1' } } } })
  await first.start('web1')
  const process = first.process('web1')
  const planned = process.threadPlan
  process.threadPlan = undefined

  const audit = await first.call('getAudit', {})
  await using _second = await first.killAndFollow()

  assert.ok(audit.entries.some(({ kind, thing }) => kind === 'mismatched' && thing === 'threads'))
  assert.deepEqual(process.threadPlan, planned)
})

test('pins that were taken back stay taken back when the daemon dies before it wrote that down', async () => {
  await using first = await openSimulatedDaemon()
  await first.createVm('web1', { cpu: { count: 2 } })
  await first.start('web1')
  await set(first, { pin: { vcpus: { 0: '1' } } })
  await set(first, {})
  const process = first.process('web1')
  assert.ok(process.threadPlan)
  process.threadPlan = { ...process.threadPlan, layout: { vcpus: new Map([[0, [1]]]), ioThreads: new Map() } }

  await using _second = await first.killAndFollow()

  assert.equal(process.threadPlan.layout.vcpus.size, 0)
})

test('an emulator that does not answer keeps its threads, and who asked hears of it after one time-out', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cpu: { count: 2, weight: 200 } })
  await world.start('web1')
  const process = world.process('web1')
  const before = process.threadPlan
  process.goesMute()
  const started = world.machine.clock.monotonicMs()

  await assert.rejects(set(world, { weight: 300 }), { code: 'emulator-unresponsive' })

  const tookMs = world.machine.clock.monotonicMs() - started
  assert.ok(tookMs <= 1.5 * world.machine.commandTimeoutMs, `${tookMs} ms`)
  assert.deepEqual(process.threadPlan, before)
  assert.equal((await world.vm('web1')).spec.cpu.weight, 200)
  process.speaksAgain()
})

test('the pin of an I/O thread goes with its disk, and the plan says so', async () => {
  await using world = await openSimulatedDaemon()
  const disks = [
    { name: 'data', size: '1GiB', ioThread: true },
    { name: 'logs', size: '1GiB', ioThread: true },
  ]
  await world.createVm('web1', {
    cpu: { pin: { emulator: '1', ioThreads: { data: '2', logs: '3' } } },
    disks,
  })
  const { spec } = await world.vm('web1')
  const body = { spec: { ...spec, disks: spec.disks.filter(({ name }) => name === 'logs') } }

  const plan = await world.call('planVm', { params, body })
  await world.call('applyVm', { params, body })

  assert.deepEqual(
    plan.changes.map(({ field }) => field),
    ['cpu.pin', 'disks.data'],
  )
  const { pin } = (await world.vm('web1')).spec.cpu
  assert.deepEqual(pin, { vcpus: {}, emulator: '1', ioThreads: { logs: '3' } })
})

test('a pin of an I/O thread whose disk is not there is refused where it was just set', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cpu: { count: 2 } })

  await assert.rejects(set(world, { pin: { ioThreads: { data: '2' } } }), { code: 'plan-refused' })
})

test('vhost has CPUs of its own from the start, for a NIC that comes, and while the guest runs', async () => {
  await using world = await openSimulatedDaemon({ hurry: 20 })
  world.machine.hasKvm = true
  await world.call('createNetwork', { body: newNetwork.parse({ name: 'lan' }) })
  const nics = [{ name: 'net0', network: 'lan' }]
  await world.createVm('web1', { cpu: { count: 2, pin: { emulator: '1' } } })
  await world.start('web1')
  await eventually(async () => world.process('web1').agentConnected, 'the agent came')
  const layout = () => world.process('web1').threadPlan?.layout
  const apply = async (cpu: Cpu) => {
    const spec = vmSpec.parse({ cpu: { count: 2, ...cpu }, nics })
    return await world.call('applyVm', { params, body: { spec } })
  }

  await apply({ pin: { emulator: '1', vhost: '4-5' } })
  await eventually(async () => (await world.vm('web1')).status.vhostThreads !== undefined, 'the NIC came')
  const plugged = (await world.vm('web1')).status.vhostThreads?.map(({ cpus }) => cpus)
  await apply({ pin: { emulator: '1', vhost: '6' } })
  const moved = [layout()?.vhost, layout()?.emulator]
  await apply({ pin: { emulator: '1' } })

  assert.deepEqual([plugged, moved, layout()?.vhost], [['4-5'], [[6], [1]], undefined])
  await assert.rejects(apply({ pin: { vhost: '99' } }), {
    code: 'unsupported',
    message: /^The vhost threads of VM web1 cannot be given CPU 99/,
  })
})

test('a pin of a thread that the emulator was started without waits for the next boot, which makes one', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  await world.start('web1')

  const { spec } = await world.vm('web1')
  const cpu = { ...spec.cpu, pin: { vcpus: {}, ioThreads: { data: '2' } } }
  await world.call('applyVm', { params, body: { spec: { ...spec, cpu } } })

  const { restartNeeded, restartReasons } = (await world.vm('web1')).status
  assert.deepEqual(restartNeeded, ['cpu.pin'])
  assert.match(restartReasons?.['cpu.pin'] ?? '', /without an I.O thread/)
  await world.call('powerOffVm', { params })
  await world.start('web1')
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, [])
  assert.deepEqual([...world.process('web1').disks.ioThreads], ['io-data'])
})
