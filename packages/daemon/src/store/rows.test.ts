import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, KvasirError } from '@kvasir/contract'
import { newStore, refusedWith } from './testing/new-store.ts'
import { sampleNow, sampleVm } from './testing/records.ts'

const event = { kind: 'vm.state', subject: 'web1', at: sampleNow(), data: { state: 'running' } } as const

function sampleJob(n: number, changes: Partial<Job> = {}): Job {
  return {
    id: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`,
    kind: 'vm.start',
    subject: { kind: 'vm', name: 'web1' },
    state: 'running',
    owner: 'root',
    step: 'launching',
    createdAt: sampleNow(),
    deadlineAt: sampleNow(),
    ...changes,
  }
}

test('an exception undoes the whole transaction, its inner parts too', async (t) => {
  const { store } = await newStore(t)
  store.vms.insert(sampleVm('1'))

  assert.throws(() =>
    store.transaction(() => {
      store.vms.update(sampleVm('1', { revision: 2 }))
      store.transaction(() => store.events.append(event))
      assert.equal(store.vms.get('1')?.kind, 'vm')
      throw new Error('on purpose')
    }),
  )

  assert.deepEqual(store.vms.get('1'), { kind: 'vm', record: sampleVm('1') })
  assert.deepEqual(store.events.range(), { oldest: 0, latest: 0 })
})

test('an inner part that is given up leaves the rest of the transaction', async (t) => {
  const { store } = await newStore(t)

  store.transaction(() => {
    store.vms.insert(sampleVm('1'))
    assert.throws(() =>
      store.transaction(() => {
        store.vms.insert(sampleVm('2'))
        throw new Error('on purpose')
      }),
    )
  })

  assert.equal(store.vms.list().length, 1)
})

test('a transaction that would wait is refused and undone', async (t) => {
  const { store } = await newStore(t)

  assert.throws(
    () =>
      store.transaction(() => {
        store.vms.insert(sampleVm('1'))
        return Promise.resolve()
      }),
    TypeError,
  )

  assert.equal(store.vms.list().length, 0)
})

test('events are numbered without gaps, whatever is rolled back between them', async (t) => {
  const { store } = await newStore(t)
  store.events.append(event)
  assert.throws(() =>
    store.transaction(() => {
      store.events.append(event)
      throw new Error('on purpose')
    }),
  )
  store.events.append(event)

  const read = store.events.read(0, 10)

  assert.deepEqual(read, [
    { seq: 1, ...event },
    { seq: 2, ...event },
  ])
  assert.deepEqual(store.events.read(1, 10), read.slice(1))
})

test('the oldest events go in batches and their numbers never come back', async (t) => {
  const { store } = await newStore(t, { events: { kept: 10, batch: 5 } })

  for (let i = 0; i < 42; i++) store.events.append(event)

  assert.deepEqual(store.events.range(), { oldest: 31, latest: 42 })
})

test('jobs are listed newest first, and only the last ended ones are kept', async (t) => {
  const { store } = await newStore(t, { endedJobs: 3 })
  store.jobs.put(sampleJob(0))
  for (let n = 1; n <= 6; n++) store.jobs.put(sampleJob(n))
  for (let n = 1; n <= 6; n++) store.jobs.put(sampleJob(n, { state: 'succeeded', endedAt: sampleNow() }))

  assert.deepEqual(
    store.jobs.list(10).map((job) => Number(job.id.slice(-2))),
    [6, 5, 4, 0],
  )
  assert.equal(store.jobs.list(2).length, 2)
  assert.equal(store.jobs.get(sampleJob(0).id)?.state, 'running')
})

test('jobs that a former daemon left running are ended with a reason', async (t) => {
  const { store } = await newStore(t)
  store.jobs.put(sampleJob(1))
  store.jobs.put(sampleJob(2, { state: 'succeeded' }))
  const why = new KvasirError('shutting-down', 'The daemon was ended, so the job did not go on.').toProblem()

  const ended = store.jobs.endAbandoned('2026-11-21T11:00:00.000Z', why)

  assert.deepEqual(ended, [
    sampleJob(1, { state: 'failed', endedAt: '2026-11-21T11:00:00.000Z', error: why }),
  ])
  assert.deepEqual(store.jobs.get(sampleJob(1).id), ended[0])
  assert.deepEqual(store.jobs.endAbandoned(sampleNow(), why), [])
})

test('a UID pair is not given out twice within a boot, and comes back after one', async (t) => {
  const { store } = await newStore(t, { uidRange: { first: 1000, count: 6 } })

  assert.equal(store.uids.allocate('a', 'boot-1'), 1000)
  assert.equal(store.uids.allocate('b', 'boot-1'), 1002)
  assert.equal(store.uids.allocate('b', 'boot-1'), 1002)
  store.uids.release('a', 'boot-1')
  assert.equal(store.uids.allocate('c', 'boot-1'), 1004)
  assert.throws(() => store.uids.allocate('d', 'boot-1'), refusedWith('host-failed', /All 3 pairs/))
  assert.equal(store.uids.allocate('d', 'boot-2'), 1000)
  assert.deepEqual(store.uids.list(), [
    { uid: 1000, vmId: 'd' },
    { uid: 1002, vmId: 'b' },
    { uid: 1004, vmId: 'c' },
  ])
})

test('an answer is remembered for a day', async (t) => {
  let now = '2026-11-21T10:00:00.000Z'
  const { store } = await newStore(t, { now: () => now })
  const answer = { requestHash: 'h', status: 201, body: '{}' }
  store.idempotency.remember('key', answer, now)

  assert.deepEqual(store.idempotency.find('key'), answer)
  now = '2026-11-22T09:59:59.000Z'
  assert.deepEqual(store.idempotency.find('key'), answer)
  now = '2026-11-22T10:00:00.000Z'
  assert.equal(store.idempotency.find('key'), undefined)
})

test('the answer that names a job is forgotten with it, and no other', async (t) => {
  const { store } = await newStore(t)
  const answer = (body: string) => ({ requestHash: 'h', status: 202, body })
  store.idempotency.remember('gone', answer('{"id":"1","subject":{"id":"2"}}'), sampleNow())
  store.idempotency.remember('other', answer('{"id":"2"}'), sampleNow())
  store.idempotency.remember('empty', answer(''), sampleNow())

  store.idempotency.forgetJob('1')

  assert.deepEqual(
    ['gone', 'other', 'empty'].map((key) => store.idempotency.find(key) !== undefined),
    [false, true, true],
  )
})

test('an image has one name and a name one image', async (t) => {
  const { store } = await newStore(t)
  store.imageNames.set('a', 'tiny')

  assert.throws(() => store.imageNames.set('b', 'tiny'), refusedWith('name-taken'))
  store.imageNames.set('a', 'small')
  store.imageNames.set('b', 'tiny')

  assert.deepEqual(store.imageNames.list(), [
    { id: 'a', name: 'small' },
    { id: 'b', name: 'tiny' },
  ])
})
