import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { SimulatedClock } from '../../simulated/simulated-clock.ts'
import { openStore } from '../../store/open-store.ts'
import { createEventFeed } from '../../supervisor/event-feed.ts'
import { openSimulatedDaemon } from '../../testing/simulated-daemon.ts'
import { type JobHandle, LiveJob } from './live-job.ts'

test('what a short job does is told by its row alone', async (t) => {
  const { begin, clock, told } = openJobs(t)

  const { job, end } = begin((handle) => handle.progress('preparing'))
  await clock.advance(200)
  const { step } = job.job
  await end()
  await clock.advance(1_000)

  assert.equal(step, 'preparing')
  assert.deepEqual(told(), ['job.started', 'job.ended'])
})

test('progress that goes on is told a few times a second, each time as it is by then', async (t) => {
  const { begin, clock, told } = openJobs(t)

  const { end } = begin((handle) => handle.progress('copying', 0.1))
  await clock.advance(100)
  await clock.advance(200)
  begin.last?.progress('copying', 0.5)
  begin.last?.progress('copying', 0.6)
  await clock.advance(300)
  await end()

  assert.deepEqual(told(), ['job.started', 'copying 0.1', 'copying 0.6', 'job.ended'])
})

test('that a VM runs and that its start has succeeded are one transaction', async () => {
  await using world = await openSimulatedDaemon()
  const { store } = world.daemon.context.ports
  await world.createVm('web1')
  const after = store.events.range().latest

  await world.start('web1')

  const events = store.events
    .read(after, 100)
    .filter(({ kind }) => kind !== 'job.progress') // Told only where the start takes its time.
    .map(({ kind, data }) => [kind, data['state']])
  assert.deepEqual(events, [
    ['job.started', undefined],
    ['vm.state', 'starting'],
    ['vm.state', 'running'],
    ['job.ended', 'succeeded'],
  ])
})

test('a start whose end cannot be written leaves no VM that runs', async () => {
  await using world = await openSimulatedDaemon()
  const { store } = world.daemon.context.ports
  await world.createVm('web1')
  const put = store.jobs.put.bind(store.jobs)
  store.jobs.put = (job) => {
    if (job.state === 'succeeded') throw new Error('the disk is full')
    put(job)
  }

  const job = await world.start('web1')

  assert.equal(job.state, 'failed')
  assert.equal((await world.vm('web1')).status.state, 'shutoff')
  assert.equal(world.machine.processes.size, 0)
})

function openJobs(t: TestContext) {
  const clock = new SimulatedClock()
  const folder = mkdtempSync(join(tmpdir(), 'kvasir-jobs-'))
  const store = openStore({ path: join(folder, 'store.db'), now: () => clock.now(), roomBytes: 1024 * 1024 })
  const feed = createEventFeed(store, clock)
  const { emit } = feed
  t.after(() => {
    feed.close()
    store.close()
    rmSync(folder, { recursive: true })
  })
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const begin = Object.assign(
    (work: (handle: JobHandle) => void) => {
      const request = { kind: 'vm.start', subject: { kind: 'vm', name: 'web1', id: 'x' } } as const
      const job = new LiveJob({ ...request, owner: 'test', deadlineMs: 60_000 }, { store, clock, emit, log })
      const { promise, resolve } = Promise.withResolvers<undefined>()
      const running = job.run((handle) => {
        begin.last = handle
        work(handle)
        return promise
      })
      const end = async () => {
        resolve(undefined)
        await running
      }
      return { job, end }
    },
    { last: undefined as JobHandle | undefined },
  )
  const told = () =>
    store.events
      .read(0, 100)
      .map(({ kind, data }) => (kind === 'job.progress' ? [data['step'], data['progress']].join(' ') : kind))
  return { begin, clock, told }
}
