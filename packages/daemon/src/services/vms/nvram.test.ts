/** The variables of UEFI go where their VM goes: kept, copied with snapshots and clones, brought back, deleted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VmSpecInput } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { eventually, openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const spec: VmSpecInput = { machine: { firmware: 'uefi' }, disks: [{ name: 'root', size: '1GiB' }] }
const query = { wait: 10 }
const params = { name: 'web1' }

/** The id of the variables that the emulator of a VM has. */
function given(world: SimulatedDaemon, name: string): string {
  const files = world
    .process(name)
    .request.plan.descriptors.flatMap((one) => ('path' in one ? [one.path] : []))
  return files.map((path) => /\/nvram\/(.+)\.fd$/.exec(path)?.[1]).find((id) => id !== undefined) ?? 'none'
}

/** The guest writes its variables. */
function write(world: SimulatedDaemon, text: string): void {
  const id = given(world, 'web1')
  assert.ok(world.machine.nvrams.has(id))
  world.machine.nvrams.set(id, Buffer.from(text))
}

function variables(world: SimulatedDaemon, name = 'web1'): string {
  return String(world.machine.nvrams.get(given(world, name)))
}

async function assertClean(world: SimulatedDaemon): Promise<void> {
  assert.deepEqual((await world.call('getAudit', {})).entries, [])
}

test('variables are made at the first start, kept over restarts, and deleted with their VM', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', spec)

  await world.start('web1')
  assert.equal(variables(world), 'as delivered')
  write(world, 'written')
  await world.call('powerOffVm', { params })
  await world.start('web1')

  assert.equal(variables(world), 'written')
  await assertClean(world)
  await world.call('powerOffVm', { params })
  await world.call('deleteVm', { params, query: { disks: true } })
  assert.equal(world.machine.nvrams.size, 0)
})

test('a host without an image for a VM says which and what to install', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.hasUefi = false
  await world.createVm('web1', spec)

  const refused = await world.start('web1').catch((error: unknown) => error)

  assert.match(JSON.stringify(refused), /UEFI image for pc-q35-.*install the package ovmf/)
  assert.equal((await world.vm('web1')).status.state, 'shutoff')
})

test('the state of a TPM is there from the first start, and goes with its VM; a clone has its own', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { devices: { tpm: true } })
  world.machine.hasSwtpm = false
  const refused = await world.start('web1').catch((error: unknown) => error)
  assert.match(JSON.stringify(refused), /no swtpm to be it.*install the package swtpm/)
  world.machine.hasSwtpm = true

  await world.start('web1')
  const { uuid } = await world.vm('web1')
  assert.deepEqual([...world.machine.tpms], [uuid])
  assert.equal(world.process('web1').request.plan.tpm?.stateDirectory, `/simulated/tpm/${uuid}`)
  await world.call('powerOffVm', { params })
  await world.call('cloneVm', { params, query, body: { name: 'web2', mode: 'full' } })
  await world.start('web2')

  assert.equal(world.machine.tpms.size, 2)
  await world.call('deleteVm', { params, query: { disks: true } })
  assert.deepEqual([...world.machine.tpms], [(await world.vm('web2')).uuid])
  world.machine.tpms.add('of-nobody')
  assert.match(JSON.stringify((await world.call('getAudit', {})).entries), /state of the TPM.*of-nobody/)
})

test('a snapshot has the variables of its instant, and going back brings them', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', spec)
  await world.start('web1')
  write(world, 'of then')
  const body = { name: 'one', description: '', quiesce: false, memory: false }
  await world.call('createSnapshot', { params, query, body })
  write(world, 'of now')

  await world.call('revertSnapshot', {
    params: { ...params, snapshot: 'one' },
    query,
    body: { keep: false },
  })

  assert.equal(variables(world), 'of then')
  await assertClean(world)
  assert.equal(world.machine.nvrams.size, 2)
  await world.call('deleteSnapshot', { params: { ...params, snapshot: 'one' }, query })
  assert.equal(world.machine.nvrams.size, 1)
})

test('a clone has a copy of the variables', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', spec)
  await world.start('web1')
  write(world, 'written')
  await world.call('powerOffVm', { params })

  await world.call('cloneVm', { params, query, body: { name: 'web2', mode: 'full' } })
  await world.start('web1')
  await world.start('web2')
  write(world, 'later')

  assert.equal(variables(world, 'web2'), 'written')
  await assertClean(world)
})

const points = [
  'snapshot.create.after-row',
  'snapshot.create.before-switch',
  'snapshot.create.after-switch',
  'snapshot.revert.before-switch',
  'snapshot.revert.after-switch',
] as const satisfies readonly FailpointName[]

for (const point of points)
  test(`a daemon that dies at ${point} leaves no variables over, and loses none`, async () => {
    let isArmed = false
    const failpoint = async (name: FailpointName) => {
      if (isArmed && name === point) await new Promise(() => {}) // The daemon does no more.
    }
    await using first = await openSimulatedDaemon({ failpoint })
    await first.createVm('web1', spec)
    await first.start('web1')
    write(first, 'of then')
    const create = { params, body: { name: 'one', description: '', quiesce: false, memory: false } }
    isArmed = point.startsWith('snapshot.create')
    await first.call('createSnapshot', { ...create, ...(isArmed ? {} : { query }) })
    if (!isArmed) {
      write(first, 'of now')
      isArmed = true
      await first.call('revertSnapshot', { params: { ...params, snapshot: 'one' }, body: { keep: false } })
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
    isArmed = false

    await using world = await first.killAndFollow()

    await assertClean(world)
    await eventually(async () => (await world.vm('web1')).status.state === 'running', 'it runs again')
    assert.equal(variables(world), point === 'snapshot.revert.before-switch' ? 'of now' : 'of then')
  })
