/** Starts that the host cannot give the memory for, and saved memory that the host makes anew. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const params = { name: 'web1' }
const pool = (node: number, free: number, total = free) => ({
  node,
  total,
  free,
  availableBytes: 2 ** 33,
})

test('a VM whose huge pages are missing does not start, and the job says who has them', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.hugepages.set(2 ** 21, [pool(0, 128)])
  const memory = { size: '256MiB', pageSize: '2MiB' as const }
  await world.createVm('db1', { memory })
  await world.createVm('web1', { memory })
  await world.start('db1')
  world.machine.hugepages.set(2 ** 21, [pool(0, 0, 128)])

  const job = await world.call('startVm', { params, query: { wait: 5 } })

  assert.equal(job.error?.code, 'not-enough-memory')
  assert.match(job.error?.detail ?? '', /128 on node 0, where all 128 .* are taken.*db1 \(128\)/)
  assert.equal((await world.vm('web1')).status.state, 'shutoff')
})

test('memory that cannot be locked or bound is refused at the start', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.lockableBytes = 2 ** 23
  await world.createVm('web1', { memory: { size: '256MiB', lock: true } })
  await world.createVm('web2', { memory: { size: '256MiB', nodes: [7] } })

  const locked = await world.call('startVm', { params, query: { wait: 5 } })
  const bound = await world.call('startVm', { params: { name: 'web2' }, query: { wait: 5 } })

  assert.match(locked.error?.detail ?? '', /LimitMEMLOCK/)
  assert.match(bound.error?.detail ?? '', /node 7/)
})

test('saved memory is loaded into memory that is made as the spec says by then', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { memory: { size: '256MiB' } })
  await world.start('web1')
  const { spec } = await world.call('getVm', { params })
  const memory = { ...spec.memory, ksm: false, thp: 'never' as const, size: 2 ** 27 }
  await world.call('applyVm', { params, body: { spec: { ...spec, memory } } })
  await world.call('saveVm', { params, query: { wait: 5 } })

  await world.start('web1')

  const { plan } = world.process('web1').request
  assert.equal(plan.memory.withoutThp, true)
  assert.ok(plan.argv.some((word) => word.includes('"size":268435456,"share":false,"merge":false')))
  assert.deepEqual((await world.vm('web1')).status.restartNeeded, ['memory.size'])
})

test('KSM is taken from a VM that runs, and the next daemon sees to it where one died before it did', async () => {
  await using first = await openSimulatedDaemon()
  await first.createVm('web1')
  await first.start('web1')
  const { spec } = await first.vm('web1')
  const body = { spec: { ...spec, memory: { ...spec.memory, ksm: false } } }

  const plan = await first.call('planVm', { params, body })
  await first.call('applyVm', { params, body })

  const process = first.process('web1')
  assert.deepEqual(
    plan.changes.map(({ field, effect }) => `${field} ${effect}`),
    ['memory.ksm live'],
  )
  assert.equal(process.merges, false)
  const { status } = await first.vm('web1')
  assert.deepEqual(status.restartNeeded, [])
  assert.equal(status.memory?.backing.ksm, false)
  process.merges = true
  await using _second = await first.killAndFollow()
  assert.equal(process.merges, false)
})

test('memory that KSM cannot merge is left alone', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { memory: { sharing: 'shared' } })
  await world.start('web1')
  const { spec } = await world.vm('web1')

  const body = { spec: { ...spec, memory: { ...spec.memory, ksm: false, high: 2 ** 30 } } }
  await world.call('applyVm', { params, body })

  assert.equal(world.process('web1').merges, undefined)
})
