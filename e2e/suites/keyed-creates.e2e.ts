/** A create with an idempotency key, and a daemon that is killed at any step of it: repeated, it gives the VM that was made. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { endpoints, KvasirError } from '@kvasir/contract'
import { needs } from '../../tools/require.ts'
import { failpointsOf } from '../machine/failpoints.ts'
import { openWorld, type World } from '../machine/world.ts'

const skip = needs('root', 'qemu')
const spec = { memory: { size: '64MiB' }, disks: [{ name: 'root', size: '64MiB' }] }

const points = [
  'vm.create.before-row',
  'vm.create.after-row',
  'vm.create.after-volume-file',
  'vm.create.before-ready',
  'vm.create.after-ready',
]

test('a create whose daemon is killed before it answers gives the same VM when it is repeated with its key', {
  skip,
  timeout: 120_000,
}, async (t) => {
  await using world = await openWorld(t)
  const failpoints = failpointsOf(world.place)
  await world.daemon.stop()
  await world.startDaemon(failpoints.environment)

  for (const [index, point] of points.entries()) {
    const name = `web${index}`
    const idempotencyKey = randomUUID()
    await failpoints.arm(point, 'exit')
    const work = create(world, name, idempotencyKey).catch((error: unknown) => error)
    assert.equal((await world.daemon.exited).signal, 'SIGKILL', point)
    assert.ok((await work) instanceof KvasirError, `${point}: nobody was answered.`)
    await failpoints.disarm()
    await world.startDaemon(failpoints.environment)

    const made = (await world.client.call(endpoints.listVms)).find((vm) => vm.name === name)
    const again = await create(world, name, idempotencyKey)
    const onceMore = await create(world, name, idempotencyKey)
    const otherSpec = world.client.call(endpoints.createVm, { body: { name, spec: {} }, idempotencyKey })

    assert.equal(made !== undefined, point === 'vm.create.after-ready', point)
    if (made) assert.equal(again.uuid, made.uuid, point)
    assert.equal(onceMore.uuid, again.uuid, point)
    await assert.rejects(otherSpec, { code: 'idempotency-conflict' }, point)
    await assert.rejects(create(world, name, randomUUID()), { code: 'name-taken' }, point)
  }
  assert.equal((await world.client.call(endpoints.listVms)).length, points.length)
})

function create(world: World, name: string, idempotencyKey: string) {
  return world.client.call(endpoints.createVm, { body: { name, spec }, idempotencyKey })
}
