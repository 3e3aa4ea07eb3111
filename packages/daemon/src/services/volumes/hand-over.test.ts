/** Uploads and downloads by files that a client has open, on the simulated host. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newUpload } from '@kvasir/contract'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const mib = 2 ** 20
const params = { pool: 'default', volume: 'data' }
const file = { descriptor: 7, device: '1', inode: '2' }
const connection = 5

/** A file of the client, each MiB full of one byte. */
function clientFile(world: SimulatedDaemon, perMib: readonly number[]) {
  const contents = {
    bytes: Uint8Array.from(perMib.flatMap((byte) => Array.from({ length: mib }, () => byte))),
  }
  world.machine.clientFiles.set(file.descriptor, contents)
  return contents
}

const begin = (world: SimulatedDaemon, size: number) =>
  world.call('beginUpload', { params, body: newUpload.parse({ size }) })
const take = (world: SimulatedDaemon, offset: number) =>
  world.call('takeUpload', { params, body: { ...file, offset }, connection })
const give = (world: SimulatedDaemon, from: { readonly offset: number; readonly tag?: string }) =>
  world.call('giveContents', { params, body: { ...file, ...from }, connection })

async function uploaded(world: SimulatedDaemon, perMib: readonly number[]): Promise<void> {
  clientFile(world, perMib)
  await begin(world, perMib.length * mib)
  await take(world, 0)
  const { state } = await world.call('finishUpload', { params, query: { wait: 10 } })
  assert.equal(state, 'succeeded')
}

test('a file that the client has open becomes a volume, which fills another one', async () => {
  await using world = await openSimulatedDaemon()

  await uploaded(world, [1, 0, 2])
  const target = clientFile(world, [9, 9, 9, 9])
  const given = await give(world, { offset: 0 })

  assert.deepEqual([given.offsetBytes, given.sizeBytes], [3 * mib, 3 * mib])
  assert.deepEqual(
    [target.bytes.length, ...[0, mib, 2 * mib].map((at) => target.bytes[at])],
    [3 * mib, 1, 0, 2],
  )
})

test('what is there of a file counts only with the tag of the same contents', async () => {
  await using world = await openSimulatedDaemon()
  await uploaded(world, [1, 2])
  const target = clientFile(world, [])
  const { tag } = await give(world, { offset: 0 })
  assert.ok(tag !== undefined)

  target.bytes = new Uint8Array(2 * mib).fill(9)
  await give(world, { offset: mib, tag })
  assert.deepEqual([target.bytes[0], target.bytes[mib]], [9, 2])
  await give(world, { offset: mib, tag: 'of something else' })
  assert.deepEqual([target.bytes[0], target.bytes[mib]], [1, 2])
})

test('an upload is taken from where it is, of a file as long as was said, from who is on this host', async () => {
  await using world = await openSimulatedDaemon()
  clientFile(world, [1, 2])
  await begin(world, 3 * mib)
  await assert.rejects(take(world, 0), { code: 'bad-request', message: /2097152 bytes, not the 3145728/ })

  clientFile(world, [1, 2, 3])
  await assert.rejects(take(world, mib), { code: 'revision-mismatch' })
  await assert.rejects(world.call('takeUpload', { params, body: { ...file, offset: 0 } }), {
    code: 'unsupported',
  })
  assert.equal((await take(world, 0)).offsetBytes, 3 * mib)
  await assert.rejects(give(world, { offset: 0 }), { code: 'busy' })
})
