import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** Stops the daemon's work at a failpoint for ever, as a kill there would. */
function dyingAt(name: FailpointName) {
  const reached = Promise.withResolvers<void>()
  const failpoint = async (point: FailpointName) => {
    if (point !== name) return
    reached.resolve()
    await new Promise(() => {})
  }
  return { failpoint, reached: reached.promise }
}

async function operate(world: SimulatedDaemon, name: FailpointName): Promise<void> {
  const params = { name: 'web1' }
  const wait = { wait: 1 }
  if (name.startsWith('vm.create'))
    await world.createVm('web2', { disks: [{ name: 'data', size: '1GiB' }], cloudInit: {} })
  else if (name.startsWith('vm.start') || name.startsWith('emulator.launch'))
    await world.call('startVm', { params, query: wait })
  else if (name.startsWith('vm.restore')) {
    await world.call('startVm', { params, query: wait })
    await world.call('saveVm', { params, query: wait })
    await world.call('startVm', { params, query: wait })
  } else if (name.startsWith('vm.stop') || name.startsWith('emulator.end')) {
    await world.call('startVm', { params, query: wait })
    await world.call('powerOffVm', { params })
  } else if (name.startsWith('vm.save')) {
    await world.call('startVm', { params, query: wait })
    await world.call('saveVm', { params, query: wait })
  } else if (name.startsWith('vm.clone'))
    await world.call('cloneVm', { params, query: wait, body: { name: 'web2', mode: 'linked' } })
  else if (name.startsWith('vm.delete')) await world.call('deleteVm', { params, query: { disks: true } })
}

/** Operations that a failpoint of another area is not part of are covered on the real host (e2e/suites/crash.e2e.ts). */
const simulatedPoints = failpointNames.filter((name) =>
  /^vm\.(create|start|restore|stop|save|clone|delete)\./.test(name),
)

for (const name of simulatedPoints)
  test(`a daemon that dies at ${name} leaves nothing half-made`, async () => {
    const death = dyingAt(name)
    const first = await openSimulatedDaemon({ failpoint: death.failpoint })
    const isCreation = name.startsWith('vm.create')
    const setUp = isCreation
      ? Promise.resolve()
      : first.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
    const work = setUp.then(() => operate(first, name))
    await Promise.race([death.reached, work])

    await using second = await first.killAndFollow()

    const audit = await second.call('getAudit', {})
    assert.deepEqual(audit.entries, [])
    for (const vm of await second.call('listVms', {}))
      assert.ok(['shutoff', 'running', 'saved'].includes(vm.status.state), `${vm.name} is ${vm.status.state}`)
    assert.ok((await second.call('listJobs', {})).every((job) => job.state !== 'running'))
  })

test('a running VM is adopted as running', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1')
  await first.start('web1')

  await using second = await first.killAndFollow()

  assert.equal((await second.vm('web1')).status.state, 'running')
  assert.equal((await second.vm('web1')).status.reason, 'it was started')
})

test('a VM whose guest powered off while nobody looked is shut off', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1')
  await first.start('web1')
  const process = first.process('web1')
  process.goesMute() // Nobody hears its events.
  process.speaksAgain()
  first.daemon.supervisor.find('web1').view()
  await first.daemon.supervisor.close()
  process.guestPowersOff()

  await using second = await first.killAndFollow()

  assert.equal((await second.vm('web1')).status.state, 'shutoff')
})

test('an emulator that does not answer makes its VM unknown, and it is not started again', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1')
  await first.start('web1')
  first.machine.commandTimeoutMs = 10
  first.process('web1').goesMute()

  await using second = await first.killAndFollow()

  assert.equal((await second.vm('web1')).status.state, 'unknown')
  await assert.rejects(second.start('web1'), { code: 'wrong-state' })
})

test('a VM that cannot be looked at is unknown, and is looked at again', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1')
  await first.start('web1')
  const process = first.process('web1')
  const runState = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(process), 'runState')
  Object.defineProperty(process, 'runState', {
    configurable: true,
    get() {
      throw new Error('a defect')
    },
  })

  await using second = await first.killAndFollow()

  assert.equal((await second.vm('web1')).status.state, 'unknown')
  Object.defineProperty(process, 'runState', { configurable: true, ...runState })
  await second.daemon.supervisor.find('web1').reconcile()
  assert.equal((await second.vm('web1')).status.state, 'running')
})

test('an emulator that died while the daemon was away makes its VM crashed', async () => {
  const first = await openSimulatedDaemon()
  await first.createVm('web1')
  await first.start('web1')
  await first.daemon.supervisor.close()
  first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })

  await using second = await first.killAndFollow()

  assert.equal((await second.vm('web1')).status.state, 'crashed')
})

for (const damage of ['flip', 'truncate'] as const)
  test(`a record damaged by a ${damage} while its VM runs is mended from what runs`, async () => {
    const first = await openSimulatedDaemon()
    await first.createVm('web1', { description: 'mine' })
    await first.start('web1')
    await first.daemon.supervisor.close()
    damageRow(first.storePath, damage)

    await using second = await first.killAndFollow()

    const vm = await second.vm('web1')
    assert.equal(vm.status.state, 'running')
    assert.equal(vm.spec.description, 'mine')
    assert.equal((await second.call('getAudit', {})).clean, true)
  })

function damageRow(path: string, damage: 'flip' | 'truncate'): void {
  const database = new DatabaseSync(path)
  const change = damage === 'flip' ? `replace(content, '"name"', '"nane"')` : 'substr(content, 1, 40)'
  const { changes } = database.prepare(`UPDATE vms SET content = ${change}`).run()
  database.close()
  assert.equal(changes, 1)
}
