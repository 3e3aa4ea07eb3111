import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, newPool } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'

/** What sleeps sleeps so many times shorter, and who waits for a job is as many times more patient. */
const hurry = 50
const wait = 60 * hurry

test('a disk goes back at once to where what it left is still being removed', async () => {
  const removal = Promise.withResolvers<void>()
  await using world = await openSimulatedDaemon({
    hurry,
    failpoint: async (name: FailpointName) => {
      if (name === 'volume.delete.after-file') await removal.promise
    },
  })
  await world.call('createPool', {
    body: newPool.parse({ type: 'dir', name: 'fast', path: '/mnt/fast' }),
  })
  await world.createVm('web1', { disks: [{ name: 'data', size: '1GiB' }] })
  await world.call('startVm', { params: { name: 'web1' }, query: { wait } })
  const move = (pool: string, waitFor: number): Promise<Job> =>
    world.call('moveDisk', {
      params: { name: 'web1', disk: 'data' },
      query: { wait: waitFor },
      body: { pool, speed: 0, keep: false, force: false },
    })
  const { id } = await move('fast', 0)
  const deadline = performance.now() + 15_000
  while ((await world.call('getJob', { params: { id }, query: { wait: 0 } })).state !== 'succeeded') {
    assert.ok(performance.now() < deadline, 'The disk has moved.')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }

  const back = move('default', wait)
  await new Promise((resolve) => setTimeout(resolve, 20))
  removal.resolve()

  assert.equal((await back).state, 'succeeded')
  assert.equal((await world.vm('web1')).spec.disks[0]?.pool, 'default')
})
