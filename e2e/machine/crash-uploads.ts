/** Uploads among the operations whose every step a daemon may die at. */
import { endpoints, KvasirError, type Piece } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
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
]

/** Goes on where the last attempt was broken off. */
async function upload(world: World): Promise<void> {
  if (await isUploaded(world)) return
  const { upload: begun } = await world.client.call(endpoints.beginUpload, {
    params,
    body: { size, as: 'qcow2' },
  })
  const offset = begun?.offsetBytes ?? 0
  if (offset < size) await world.client.sendPart(params, { offset, pieces: pieces(size - offset) })
  const job = await world.client.call(endpoints.finishUpload, { params })
  await waitForJob(world.client, job, { signal: AbortSignal.timeout(120_000) })
}

async function* pieces(lengthBytes: number): AsyncGenerator<Piece> {
  yield { kind: 'data', bytes: new Uint8Array(lengthBytes).fill(7) }
}

async function isUploaded(world: World): Promise<boolean> {
  try {
    return (await world.client.call(endpoints.getVolume, { params })).upload === undefined
  } catch (error) {
    if (error instanceof KvasirError && error.code === 'volume-not-found') return false
    throw error
  }
}
