/** Encrypted volumes as rows: the secret stays with them, and nothing puts in the clear what was encrypted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  createSnapshotBody,
  endpoints,
  type NewUpload,
  newSecret,
  newUpload,
  newVolume,
  type Piece,
} from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const data = { pool: 'default', volume: 'data' }

async function openWithVolume(): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon()
  await world.call('createSecret', { body: newSecret.parse({ name: 'key', value: 'what nobody may see' }) })
  const body = newVolume.parse({ name: 'data', size: 2 ** 30, encrypt: 'key' })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  return world
}

test('a volume names its secret, which is needed until the volume is gone', async () => {
  await using world = await openWithVolume()
  const deleteSecret = () => world.call('deleteSecret', { params: { secret: 'key' } })

  assert.deepEqual((await world.call('getVolume', { params: data })).encryption, { secret: 'key' })
  await assert.rejects(deleteSecret(), { code: 'in-use', message: /volume data/ })
  await world.call('deleteVolume', { params: data })
  await deleteSecret()
})

test('a volume of either format is encrypted, with a secret that is there', async () => {
  await using world = await openSimulatedDaemon()
  const create = (more: { format?: 'raw'; encrypt: string }) =>
    world.call('createVolume', {
      params: { pool: 'default' },
      body: newVolume.parse({ name: 'data', size: 2 ** 30, ...more }),
    })

  await assert.rejects(create({ encrypt: 'key' }), { code: 'secret-not-found' })
  await world.call('createSecret', { body: newSecret.parse({ name: 'key', value: 'what nobody may see' }) })
  const { format, encryption } = await create({ encrypt: 'key', format: 'raw' })
  assert.deepEqual([format, encryption], ['raw', { secret: 'key' }])
})

test('copies and clones keep the secret, and what would be in the clear is refused', async () => {
  await using world = await openWithVolume()
  const wait = { wait: 10 }
  const clone = (name: string, mode: 'linked' | 'full') =>
    world.call('cloneVolume', { params: data, query: wait, body: { name, mode } })

  for (const job of [await clone('full', 'full'), await clone('linked', 'linked')])
    assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  for (const { name, encryption } of await world.call('listVolumes', {}))
    assert.deepEqual(encryption, { secret: 'key' }, name)
  const compressed = world.call('convertVolume', {
    params: { ...data, volume: 'full' },
    query: wait,
    body: { compress: true },
  })
  await assert.rejects(compressed, { code: 'unsupported' })
})

test('what a snapshot lays over an encrypted disk has its secret', async () => {
  await using world = await openWithVolume()
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })

  const job = await world.call('createSnapshot', {
    params: { name: 'web1' },
    query: { wait: 10 },
    body: createSnapshotBody.parse({ name: 'one' }),
  })

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  const volumes = await world.call('listVolumes', {})
  assert.deepEqual(
    volumes.map(({ name, encryption }) => [name, encryption?.secret]),
    [
      ['data', 'key'],
      ['data.one', 'key'],
    ],
  )
})

test('what is exported of an encrypted disk is encrypted, in a pool that can', async () => {
  await using world = await openWithVolume()
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })
  const body = endpoints.exportVm.body.parse({ name: 'monday' })
  const exported = await world.call('exportVm', { params: { name: 'web1' }, query: { wait: 10 }, body })

  assert.equal(exported.state, 'succeeded', JSON.stringify(exported.error))
  const copy = await world.call('getVolume', { params: { ...data, volume: 'data.monday' } })
  assert.deepEqual(copy.encryption, { secret: 'key' })
})

test('what is uploaded to a new volume is encrypted where a secret is named, and an upload keeps its secret', async () => {
  await using world = await openSimulatedDaemon()
  const begin = (more: Partial<NewUpload>) =>
    world.call('beginUpload', { params: data, body: newUpload.parse({ size: 4096, ...more }) })
  const secret = (name: string) =>
    world.call('createSecret', { body: newSecret.parse({ name, value: 'what nobody may see' }) })

  async function* pieces(): AsyncGenerator<Piece> {
    yield { kind: 'zeros', lengthBytes: 4096 }
  }

  await assert.rejects(begin({ encrypt: 'key' }), { code: 'secret-not-found' })
  await secret('key')
  await secret('other')
  await assert.rejects(begin({ encrypt: 'key', format: 'qcow2' }), { message: /would not be encrypted/ })
  assert.deepEqual((await begin({ encrypt: 'key' })).encryption, { secret: 'key' })
  await assert.rejects(begin({ encrypt: 'other' }), { code: 'name-taken' })
  await begin({})
  await world.call('sendUpload', {
    params: data,
    query: { offset: 0 },
    body: pieces(),
  })
  await world.call('finishUpload', { params: data, query: { wait: 10 } })
  await assert.rejects(begin({ force: true, encrypt: 'other' }), { message: /keeps its secret/ })
  assert.deepEqual((await begin({ force: true })).encryption, { secret: 'key' })
})
