import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { newStore, refusedWith } from './testing/new-store.ts'
import { sampleVm, sampleVolume } from './testing/records.ts'

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

  assert.throws(() => store.volumes.list(), refusedWith('store-damaged', /volume default\/volume-1 \(1\)/))
  assert.equal(store.volumes.find('default', 'other')?.id, '2')
})

test('what is remembered of volumes is what the file says, also after a rollback and behind our back', async (t) => {
  const { store, damage } = await newStore(t)
  store.volumes.insert(sampleVolume('1', { capacityBytes: 1024 }))
  const capacity = () => store.volumes.list().map(({ capacityBytes }) => capacityBytes)
  assert.deepEqual(capacity(), [1024])

  assert.throws(() =>
    store.transaction(() => {
      store.volumes.update(sampleVolume('1', { capacityBytes: 2048 }))
      assert.deepEqual(capacity(), [2048])
      throw new Error('taken back')
    }),
  )
  assert.deepEqual(capacity(), [1024])
  store.volumes.update(sampleVolume('1', { capacityBytes: 4096 }))
  assert.deepEqual(capacity(), [4096])
  damage(`DELETE FROM volumes WHERE id = '1'`)
  assert.deepEqual(capacity(), [])
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
