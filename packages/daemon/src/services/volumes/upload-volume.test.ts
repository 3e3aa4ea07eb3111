/** Uploads and downloads, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NewUpload, newUpload, newVolume, type Piece } from '@kvasir/contract'
import type { FailpointName } from '../../ports/failpoints.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
const data = { pool: 'default', volume: 'data' }

type Wanted = Partial<NewUpload>

const begin = (world: SimulatedDaemon, wanted: Wanted = {}) =>
  world.call('beginUpload', { params: data, body: newUpload.parse({ size: 8 * mib, ...wanted }) })

async function* each(pieces: readonly Piece[], failure?: Error): AsyncGenerator<Piece> {
  yield* pieces
  if (failure) throw failure
}

const filled = (lengthBytes: number, byte: number): Piece => ({
  kind: 'data',
  bytes: new Uint8Array(lengthBytes).fill(byte),
})
const zeros = (lengthBytes: number): Piece => ({ kind: 'zeros', lengthBytes })

const send = (world: SimulatedDaemon, offset: number, pieces: readonly Piece[], failure?: Error) =>
  world.call('sendUpload', { params: data, query: { offset }, body: each(pieces, failure) })

const finish = (world: SimulatedDaemon) => world.call('finishUpload', { params: data, query: { wait: 10 } })

const show = (world: SimulatedDaemon) => world.call('getVolume', { params: data })

/** What is on the volume: for each MiB the byte that it is full of. */
async function contents(world: SimulatedDaemon): Promise<readonly number[]> {
  const sent = await world.call('downloadVolume', { params: data })
  const found: number[] = []
  try {
    for await (const piece of sent.pieces(0, sent.sizeBytes)) {
      const bytes = piece.kind === 'data' ? piece.bytes : new Uint8Array(piece.lengthBytes)
      for (let at = 0; at < bytes.length; at += mib) found.push(bytes[at] ?? -1)
    }
  } finally {
    await sent.close()
  }
  return found
}

test('a volume is uploaded in parts, and is one that can be used when all of them came', async () => {
  await using world = await openSimulatedDaemon()

  const begun = await begin(world)
  assert.deepEqual(begun.upload?.offsetBytes, 0)
  assert.equal((await send(world, 0, [filled(2 * mib, 1), zeros(3 * mib)])).offsetBytes, 5 * mib)
  await assert.rejects(world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] }), {
    code: 'busy',
  })
  await assert.rejects(world.call('downloadVolume', { params: data }), { code: 'busy' })
  await assert.rejects(finish(world), { code: 'wrong-state' })
  assert.equal((await send(world, 5 * mib, [filled(3 * mib, 2)])).offsetBytes, 8 * mib)
  const job = await finish(world)

  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.equal((await show(world)).upload, undefined)
  assert.deepEqual(await contents(world), [1, 1, 0, 0, 0, 2, 2, 2])
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })
})

test('a part that breaks off counts as far as it came, and the upload goes on there', async () => {
  await using world = await openSimulatedDaemon()
  await begin(world, { fingerprint: 'f' })

  await assert.rejects(send(world, 0, [filled(3 * mib, 1)], new Error('the line broke')), /the line broke/)

  assert.equal((await begin(world, { fingerprint: 'f' })).upload?.offsetBytes, 3 * mib)
  await assert.rejects(send(world, 0, [filled(mib, 1)]), { code: 'revision-mismatch' })
  await assert.rejects(begin(world, { fingerprint: 'another' }), { code: 'name-taken' })
  await send(world, 3 * mib, [filled(5 * mib, 4)])
  await finish(world)
  assert.deepEqual(await contents(world), [1, 1, 1, 4, 4, 4, 4, 4])
})

test('more than was announced is refused, and what came before it counts', async () => {
  await using world = await openSimulatedDaemon()
  await begin(world)

  await assert.rejects(send(world, 0, [filled(7 * mib, 1), filled(2 * mib, 2)]), { code: 'bad-request' })

  assert.equal((await show(world)).upload?.offsetBytes, 7 * mib)
})

test('an upload goes on under the next daemon, and one that nobody goes on with is removed after a day', async () => {
  const world = await openSimulatedDaemon()
  await begin(world)
  await send(world, 0, [filled(3 * mib, 1)])

  const next = await world.killAndFollow()
  assert.equal((await show(next)).upload?.offsetBytes, 3 * mib)
  await send(next, 3 * mib, [filled(mib, 1)])
  next.skip(25 * 3_600_000)

  await using last = await next.killAndFollow()
  await assert.rejects(show(last), { code: 'volume-not-found' })
  assert.equal(last.machine.volumes.size, 0)
})

test('wherever the daemon dies, there is no volume, one that is being uploaded, or a whole one', async () => {
  const points: FailpointName[] = [
    'volume.upload.before-row',
    'volume.upload.after-row',
    'volume.upload.after-file',
    'volume.upload.after-begin',
    'volume.upload.after-part',
    'volume.upload.before-ready',
    'volume.upload.after-ready',
  ]
  for (const point of points) {
    const { promise: isThere, resolve: arrive } = Promise.withResolvers<void>()
    const world = await openSimulatedDaemon({
      failpoint: async (name) => {
        if (name !== point) return
        arrive()
        await new Promise(() => {})
      },
    })
    const reached = async () => {
      await begin(world)
      await send(world, 0, [filled(8 * mib, 1)])
      await finish(world)
    }
    await Promise.race([reached(), isThere])

    await using next = await world.killAndFollow()

    const { upload } = await begin(next).catch(() => ({ upload: undefined }))
    if (upload) {
      await send(next, upload.offsetBytes, upload.offsetBytes < 8 * mib ? [filled(8 * mib, 1)] : [])
      await finish(next)
    }
    assert.deepEqual(
      await contents(next),
      Array.from({ length: 8 }, () => 1),
      point,
    )
    assert.equal(next.machine.volumes.size, 1, point)
  }
})

test('a volume that is there is filled only by force, never while a VM has it, and nothing of before is left', async () => {
  await using world = await openSimulatedDaemon()
  const body = newVolume.parse({ name: 'data', size: 12 * mib, format: 'raw' })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  const [id = ''] = world.machine.volumes.keys()
  world.machine.contents.set(
    id,
    new Map([[0, 2560].map((at) => [at, new Uint8Array(4096).fill(9)] as const)].flat()),
  )

  await assert.rejects(begin(world), { code: 'name-taken' })
  await assert.rejects(begin(world, { force: true, size: 13 * mib }), { code: 'bad-request' })
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })
  await assert.rejects(begin(world, { force: true }), { code: 'in-use', message: /VM web1/ })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: false } })
  await begin(world, { force: true })
  await send(world, 0, [zeros(4 * mib), filled(4 * mib, 3)])
  await finish(world)

  assert.deepEqual(await contents(world), [0, 0, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0])
})

test('a qcow2 volume that is filled anew goes on after a part that broke off, by the same words', async () => {
  await using world = await openSimulatedDaemon()
  const body = newVolume.parse({ name: 'data', size: 8 * mib, format: 'qcow2' })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  await begin(world, { force: true })
  await assert.rejects(send(world, 0, [filled(4 * mib, 3)], new Error('the connection broke')))

  const again = await begin(world, { force: true })
  await assert.rejects(begin(world, { force: true, as: 'raw' }), { code: 'bad-request' })
  await assert.rejects(begin(world, { as: 'raw' }), { code: 'name-taken' })
  await send(world, again.upload?.offsetBytes ?? 0, [filled(4 * mib, 4)])
  await finish(world)

  assert.deepEqual(await contents(world), [3, 3, 3, 3, 4, 4, 4, 4])
})

/** A volume of 12 MiB on which there is something everywhere. */
async function makeFull(world: SimulatedDaemon): Promise<void> {
  const body = newVolume.parse({ name: 'data', size: 12 * mib, format: 'raw' })
  await world.call('createVolume', { params: { pool: 'default' }, body })
  await begin(world, { force: true, size: 12 * mib })
  await send(world, 0, [filled(12 * mib, 9)])
  await finish(world)
}

test('what lies behind a smaller upload is cleared by the job that ends it, also under the next daemon', async () => {
  const { promise: isThere, resolve: arrive } = Promise.withResolvers<void>()
  const world = await openSimulatedDaemon({
    failpoint: async (name) => {
      if (name !== 'volume.upload.after-clear') return
      arrive()
      await new Promise(() => {})
    },
  })
  await makeFull(world)
  await begin(world, { force: true, size: 4 * mib })
  const sent = await send(world, 0, [filled(4 * mib, 1)])
  const nobody = finish(world).catch(() => {})
  await isThere

  await using next = await world.killAndFollow()
  const begun = await begin(next, { force: true, size: 4 * mib })
  await assert.rejects(next.call('downloadVolume', { params: data }), { code: 'busy' })
  const job = await finish(next)

  assert.equal(sent.offsetBytes, 4 * mib)
  assert.equal(begun.upload?.offsetBytes, 4 * mib)
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error))
  assert.deepEqual(await contents(next), [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
  void nobody
})

test('an upload that does not go on is begun anew by force, and nothing of it is left', async () => {
  await using world = await openSimulatedDaemon()
  await makeFull(world)
  await begin(world, { force: true, size: 8 * mib, fingerprint: 'stream:1' })
  await send(world, 0, [filled(8 * mib, 1)])

  await assert.rejects(begin(world, { size: 6 * mib, fingerprint: 'stream:2' }), { code: 'name-taken' })
  await assert.rejects(begin(world, { force: true, size: 13 * mib }), { code: 'bad-request' })
  const anew = await begin(world, { force: true, size: 6 * mib, fingerprint: 'stream:2' })
  await assert.rejects(send(world, 8 * mib, []), { code: 'revision-mismatch' })
  await send(world, 0, [filled(2 * mib, 2), zeros(4 * mib)])
  await finish(world)

  assert.equal(anew.upload?.offsetBytes, 0)
  assert.equal(anew.upload?.expiresAt, undefined)
  assert.deepEqual(await contents(world), [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
})

test('a volume that is downloaded is held, and the tag changes with what is on it', async () => {
  await using world = await openSimulatedDaemon()
  await begin(world)
  await send(world, 0, [filled(8 * mib, 1)])
  await finish(world)
  await world.createVm('web1', { disks: [{ name: 'data', volume: 'data' }] })

  const sent = await world.call('downloadVolume', { params: data })
  await assert.rejects(world.call('deleteVolume', { params: data }), { code: 'busy' })
  await sent.close()
  const again = await world.call('downloadVolume', { params: data })
  await again.close()

  assert.equal(again.tag, sent.tag)
  await world.start('web1')
  await assert.rejects(world.call('downloadVolume', { params: data }), { code: 'in-use', message: /VM web1/ })
  await world.call('powerOffVm', { params: { name: 'web1' } })
  await world.call('deleteVm', { params: { name: 'web1' }, query: { disks: false } })
  await begin(world, { force: true })
  await send(world, 0, [filled(8 * mib, 2)])
  await finish(world)
  const changed = await world.call('downloadVolume', { params: data })
  await changed.close()
  assert.notEqual(changed.tag, sent.tag)
})

test('what turns out to be no image that may become a volume is removed, and its name is free again', async () => {
  await using world = await openSimulatedDaemon()
  await begin(world, { format: 'qcow2' })
  await send(world, 0, [filled(8 * mib, 1)])
  for (const [id, volume] of world.machine.volumes)
    world.machine.volumes.set(id, { ...volume, damage: { leaks: 0, corruptions: 3 } })

  const job = await finish(world)

  assert.equal(job.error?.code, 'image-refused')
  await assert.rejects(show(world), { code: 'volume-not-found' })
  assert.equal(world.machine.volumes.size, 0)
})
