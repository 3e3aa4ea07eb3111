/** Uploads among the operations whose every step a daemon may die at. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { endpoints, KvasirError, type Piece } from '@kvasir/contract'
import { type VolumePlace, waitForJob } from '@kvasir/sdk'
import type { Operation } from './crash-operation.ts'
import { removeVolume } from './crash-steps.ts'
import type { World } from './world.ts'

const mib = 2 ** 20
const size = 4 * mib
const params = { pool: 'default', volume: 'uploaded' }

/** The operations on uploads. */
export const uploadOperations: readonly Operation[] = [
  {
    name: 'upload a volume',
    about: [],
    points: /^volume\.upload\./,
    prepare: (world) => removeVolume(world, params.volume),
    run: upload,
    isDone: isUploaded,
  },
  {
    name: 'upload onto a larger volume',
    about: [],
    points: /^volume\.upload\.(after-clear|before-ready)/,
    prepare: prepareLarger,
    run: fillLarger,
    isDone: isFilled,
  },
]

const larger = { pool: 'default', volume: 'larger' }
const largerSize = 16 * mib

/** A volume on which there is something everywhere. */
async function prepareLarger(world: World): Promise<void> {
  const { client } = world
  await removeVolume(world, larger.volume)
  await client.call(endpoints.beginUpload, { params: larger, body: { size: largerSize } })
  await client.sendPart(larger, { offset: 0, pieces: pieces(largerSize, 9) })
  await finish(world, larger)
}

/** The same words go on with what was broken off. */
async function fillLarger(world: World): Promise<void> {
  const body = { size, force: true }
  const { upload: begun } = await world.client.call(endpoints.beginUpload, { params: larger, body })
  const offset = begun?.offsetBytes ?? 0
  if (offset < size) await world.client.sendPart(larger, { offset, pieces: pieces(size - offset) })
  await finish(world, larger)
}

/** It is a volume again, and nothing of what was on it before is. */
async function isFilled(world: World): Promise<boolean> {
  if ((await world.client.call(endpoints.getVolume, { params: larger })).upload !== undefined) return false
  const path = join(world.place.base, 'larger.img')
  const { code, stderr } = await world.cli('volume', 'download', larger.volume, path, '--force')
  if (code !== 0) throw new Error(stderr)
  const bytes = await readFile(path)
  if (bytes[0] === 9) return false // It was not begun.
  return bytes.equals(Buffer.concat([Buffer.alloc(size, 7), Buffer.alloc(largerSize - size)]))
}

/** Goes on where the last attempt was broken off. */
async function upload(world: World): Promise<void> {
  if (await isUploaded(world)) return
  const { upload: begun } = await world.client.call(endpoints.beginUpload, {
    params,
    body: { size, as: 'qcow2' },
  })
  const offset = begun?.offsetBytes ?? 0
  if (offset < size) await world.client.sendPart(params, { offset, pieces: pieces(size - offset) })
  await finish(world, params)
}

async function finish(world: World, of: VolumePlace): Promise<void> {
  const job = await world.client.call(endpoints.finishUpload, { params: of })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(120_000) })
}

async function* pieces(lengthBytes: number, byte = 7): AsyncGenerator<Piece> {
  yield { kind: 'data', bytes: new Uint8Array(lengthBytes).fill(byte) }
}

async function isUploaded(world: World): Promise<boolean> {
  try {
    return (await world.client.call(endpoints.getVolume, { params })).upload === undefined
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'volume-not-found') return false
    throw error
  }
}
