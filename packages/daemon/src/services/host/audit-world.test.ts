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

test('notes that no row of a volume names are left over, and the next daemon removes them', async () => {
  const world = await openSimulatedDaemon()
  await world.createVm('web1', {
    disks: ['root', 'data', 'more'].map((name) => ({ name, size: '1GiB', format: 'raw' })),
  })
  const { store } = world.daemon.context.ports
  const idOf = (name: string) => store.volumes.find('default', `web1-${name}`)?.id ?? ''
  const [root, data, gone] = [idOf('root'), idOf('data'), randomUUID()]
  for (const id of [root, data, gone]) world.machine.notes.set(id, [])
  store.volumes.setNotesOf(root, (await world.vm('web1')).uuid)

  const { entries } = await world.call('getAudit', {})
  await using next = await world.killAndFollow()

  const found = entries.map(({ kind, thing, id, detail }) => [kind, thing, id, detail])
  const detail = (whose: string) =>
    `What checkpoints had noted of ${whose}; the next start of the daemon removes it.`
  assert.deepEqual(found, [
    ['orphan', 'notes of a volume', data, detail('volume web1-data, which has changed since')],
    ['orphan', 'notes of a volume', gone, detail('a volume that does not exist')],
  ])
  assert.deepEqual([...next.machine.notes.keys()], [root])
  assert.equal((await next.call('getAudit', {})).clean, true)
})
