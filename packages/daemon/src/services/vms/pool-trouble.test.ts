/** What a VM's pools have to do with its silence, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

const gib = 2 ** 30

test('a VM that does not answer says which of its pools does not either, once that is known and as long as it is so', async () => {
  await using world = await openSimulatedDaemon()
  world.machine.commandTimeoutMs = 10
  for (const name of ['fast', 'slow', 'idle'])
    await world.call('createPool', { body: newPool.parse({ type: 'dir', name, path: `/srv/${name}` }) })
  await world.createVm('web1', {
    disks: [
      { name: 'root', pool: 'idle', size: gib },
      { name: 'a', pool: 'fast', size: gib },
      { name: 'b', pool: 'slow', size: gib },
      { name: 'c', pool: 'fast', size: gib },
    ],
  })
  await world.start('web1')
  const driver = world.daemon.supervisor.find('web1')
  const look = async () => {
    await driver.reconcile()
    return (await world.vm('web1')).status
  }
  const hangs = async (name: string) => {
    world.machine.hungFolders.add(`/srv/${name}`)
    await world.call('startPool', { params: { pool: name } })
  }

  world.process('web1').goesMute()
  const alone = await look()
  await hangs('fast')
  const withOne = await look()
  await hangs('slow')
  const withTwo = await look()
  world.machine.hungFolders.clear()
  world.process('web1').speaksAgain()

  const silent = 'its emulator runs but does not answer'
  const fast = `${silent}, and neither does pool fast, which disks a and c lie on`
  assert.deepEqual(
    [alone, withOne, withTwo].map(({ state, reason }) => [state, reason]),
    [
      ['unknown', silent],
      ['unknown', fast],
      ['unknown', `${fast}, nor pool slow, which disk b lies on`],
    ],
  )
  assert.equal(withTwo.since, alone.since)
  assert.equal((await look()).state, 'running')
})

test('a VM that a new daemon finds silent says so of its pools as well', async () => {
  const first = await openSimulatedDaemon()
  first.machine.commandTimeoutMs = 10
  await first.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path: '/srv/fast' }) })
  await first.createVm('web1', { disks: [{ name: 'root', pool: 'fast', size: gib }] })
  await first.start('web1')
  first.machine.hungFolders.add('/srv/fast')
  first.process('web1').goesMute()

  await using second = await first.killAndFollow()
  await second.call('startPool', { params: { pool: 'fast' } })
  await second.daemon.supervisor.find('web1').reconcile()

  const { state, reason } = (await second.vm('web1')).status
  assert.equal(state, 'unknown')
  assert.match(reason, /does not answer: .*, and neither does pool fast, which disk root lies on$/)
  second.machine.hungFolders.clear()
  second.process('web1').speaksAgain()
  await second.daemon.supervisor.find('web1').reconcile()
  assert.equal((await second.vm('web1')).status.state, 'running')
})
