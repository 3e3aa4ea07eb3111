import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, type Job, KvasirError } from '@kvasir/contract'
import { openStore, type StoreOptions } from './open-store.ts'
import { sampleNow, sampleVm, sampleVolume } from './sample-records.ts'

async function newStore(t: TestContext, options: Partial<StoreOptions> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'kvasir-store-'))
  const path = join(directory, 'kvasir.db')
  const store = openStore({ path, now: sampleNow, ...options })
  t.after(async () => {
    store.close()
    await rm(directory, { recursive: true, force: true })
  })
  /** What somebody else does to the file behind the daemon's back. */
  const damage = (sql: string) => {
    const other = new DatabaseSync(path)
    other.exec(sql)
    other.close()
  }
  return { store, path, damage }
}

function refusedWith(code: ErrorCode, pattern = /./) {
  return (error: unknown) =>
    error instanceof KvasirError && error.code === code && pattern.test(error.message)
}

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

test('a VM is found by id and by name, in the order of names', async (t) => {
  const { store } = await newStore(t)
  store.vms.insert(sampleVm('2', { name: 'beta' }))
  store.vms.insert(sampleVm('1', { name: 'gamma' }))
  store.vms.insert(sampleVm('3', { name: 'alpha' }))

  const names = store.vms.list().map((row) => row.kind === 'vm' && row.record.name)

  assert.deepEqual(names, ['alpha', 'beta', 'gamma'])
  assert.deepEqual(store.vms.findByName('beta'), store.vms.get('2'))
  assert.equal(store.vms.findByName('delta'), undefined)
  assert.equal(store.vms.get('4'), undefined)
})

test('a name is given once, also by renaming, and is free again after removal', async (t) => {
  const { store } = await newStore(t)
  store.vms.insert(sampleVm('1', { name: 'web1' }))
  store.vms.insert(sampleVm('2', { name: 'web2' }))

  assert.throws(() => store.vms.insert(sampleVm('3', { name: 'web1' })), refusedWith('name-taken'))
  assert.throws(() => store.vms.update(sampleVm('2', { name: 'web1' })), refusedWith('name-taken'))
  store.vms.remove('1')
  store.vms.update(sampleVm('2', { name: 'web1' }))

  assert.equal(store.vms.findByName('web1')?.kind, 'vm')
  assert.equal(store.vms.list().length, 1)
})

test('an update that expects another revision is refused and changes nothing', async (t) => {
  const { store } = await newStore(t)
  store.vms.insert(sampleVm('1', { revision: 3 }))

  assert.throws(
    () => store.vms.update(sampleVm('1', { revision: 4, phase: 'deleting' }), 2),
    refusedWith('revision-mismatch', /is at revision 3, not 2/),
  )

  assert.deepEqual(store.vms.get('1'), { kind: 'vm', record: sampleVm('1', { revision: 3 }) })
  store.vms.update(sampleVm('1', { revision: 4 }), 3)
})

test('updating a VM that is gone says so', async (t) => {
  const { store } = await newStore(t)

  assert.throws(() => store.vms.update(sampleVm('1')), refusedWith('vm-not-found'))
})

test('a row with one changed character is damaged, not absent, and its last good copy is whole', async (t) => {
  const { store, damage } = await newStore(t)
  store.vms.insert(sampleVm('1', { phase: 'creating' }))
  store.vms.update(sampleVm('1', { name: 'web1', intent: 'stop' }))

  damage(`UPDATE vms SET content = replace(content, 'tiny', 'tinz')`)

  assert.deepEqual(store.vms.list(), [
    { kind: 'damaged', id: '1', name: 'web1', reason: 'its checksum differs' },
  ])
  const good = store.vms.lastGood('1')
  assert.equal(good?.spec.image, 'tiny')
  assert.equal(good?.intent, 'stop')
  assert.equal(good?.life.state, 'unknown')
  assert.equal(good?.run, undefined)
})

test('a copy from before a VM was whole does not make recovery undo the VM', async (t) => {
  const { store, damage } = await newStore(t)
  store.vms.insert(sampleVm('1', { phase: 'creating', intent: 'start' }))
  store.vms.update(sampleVm('1'))

  damage(`UPDATE vms SET content = '{'; UPDATE vms_history SET digest = x'00' WHERE version = 2`)

  assert.equal(store.vms.lastGood('1')?.phase, 'ready')
  assert.equal(store.vms.lastGood('1')?.intent, 'none')
})

test('truncated JSON, foreign JSON and a swapped row are damaged', async (t) => {
  const { store, damage } = await newStore(t)
  for (const id of ['1', '2', '3']) store.vms.insert(sampleVm(id))

  damage(`UPDATE vms SET content = substr(content, 1, 100) WHERE id = '1';
    UPDATE vms SET content = '{}' WHERE id = '2';
    UPDATE vms SET (content, digest) = (SELECT content, digest FROM vms WHERE id = '1') WHERE id = '3'`)

  assert.deepEqual(
    store.vms.list().map((row) => row.kind),
    ['damaged', 'damaged', 'damaged'],
  )
  assert.equal(store.vms.lastGood('3')?.name, 'vm-3')
})

test('a row of content that does not fit the schema names the place', async (t) => {
  const { store } = await newStore(t)
  const wrong = sampleVm('1')
  Object.assign(wrong, { spec: { ...wrong.spec, disks: 'none' } })

  store.vms.insert(wrong)

  const row = store.vms.get('1')
  assert.equal(
    row?.kind === 'damaged' && row.reason.startsWith('its content does not fit at spec.disks'),
    true,
  )
})

test('a damaged row can be mended by writing it anew', async (t) => {
  const { store, damage } = await newStore(t)
  store.vms.insert(sampleVm('1'))
  damage(`UPDATE vms SET content = '', version = 0`)

  store.vms.update(sampleVm('1', { revision: 9 }))

  assert.deepEqual(store.vms.get('1'), { kind: 'vm', record: sampleVm('1', { revision: 9 }) })
})

test('a damaged volume row is read from its copy, and one without a copy stops the list', async (t) => {
  const { store, damage } = await newStore(t)
  store.volumes.insert(sampleVolume('1'))
  store.volumes.insert(sampleVolume('2', { name: 'other' }))

  damage(`UPDATE volumes SET content = 'x' WHERE id = '1'`)
  assert.deepEqual(store.volumes.get('1'), sampleVolume('1'))
  damage(`UPDATE volumes_history SET content = 'x' WHERE id = '1'`)

  assert.throws(() => store.volumes.list(), refusedWith('store-damaged', /volume volume-1 \(1\)/))
  assert.equal(store.volumes.findByName('other')?.id, '2')
})

test('the history of a row is bounded and goes with it', async (t) => {
  const { store, path } = await newStore(t)
  store.vms.insert(sampleVm('1'))
  for (let revision = 2; revision <= 20; revision++) store.vms.update(sampleVm('1', { revision }))
  const count = () => {
    const other = new DatabaseSync(path, { readOnly: true })
    const row = other.prepare('SELECT count(*) AS n FROM vms_history').get()
    other.close()
    return row?.['n']
  }

  assert.equal(count(), 5)
  store.vms.remove('1')
  assert.equal(count(), 0)
})

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
