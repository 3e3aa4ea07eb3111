import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

test('the seed of a VM is as it should be, one of no VM is left over', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cloudInit: { user: 'kim' } })
  await world.start('web1')
  const before = await world.call('getAudit', {})
  const stranger = randomUUID()
  world.machine.seeds.set(stranger, new Uint8Array(1))

  const after = await world.call('getAudit', {})

  assert.deepEqual([world.machine.seeds.size, before.entries], [2, []])
  assert.deepEqual(
    after.entries.map(({ kind, thing, id }) => [kind, thing, id]),
    [['orphan', 'cloud-init seed', stranger]],
  )
  assert.equal(after.checked, before.checked + 1)
})

test('the seed of a VM goes with it', async () => {
  await using world = await openSimulatedDaemon()
  await world.createVm('web1', { cloudInit: { user: 'kim' } })
  await world.start('web1')
  await world.call('powerOffVm', { params: { name: 'web1' } })

  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: false } })

  assert.equal(world.machine.seeds.size, 0)
  assert.equal((await world.call('getAudit', {})).clean, true)
})
