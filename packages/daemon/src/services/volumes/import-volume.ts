/**
 * Makes a volume of a file that lies in a pool already, in its place. Only on request, and only of what is what it is said to be: nothing
 * is adopted because it is there.
 */
import type { Volume, VolumeFormat } from '@kvasir/contract'
import { KvasirError, type PackedImage, packedImageBytes, packedImageOf } from '@kvasir/contract'
import type { VolumeSource } from '../../model/storage/volume-source.ts'
import type { PoolEntry } from '../../ports/pools.ts'
import type { PoolRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requirePool, usablePool } from '../pools/usable-pool.ts'
import { encryptionOf, requireStillKept } from './encryption.ts'
import { holdFile } from './hold-file.ts'
import { requireFreeName } from './require-free-name.ts'
import { showVolume } from './show-volume.ts'
import { forgetTaken, giveBackTaken, noteTaken, volumeOf } from './taken-files.ts'
import { volumeWords } from './volume-words.ts'

const openTimeoutMs = 60_000

export interface ImportVolumeRequest {
  readonly name: string
  readonly file: string
  readonly format: VolumeFormat
  /** The secret with which the file is encrypted. */
  readonly encrypt?: string | undefined
  /** A file that begins like an image of another format is taken for contents all the same. */
  readonly force?: boolean
}

/** Imports a file in place. `file-not-found`, `image-refused` for one that is not what it is said to be, `in-use`. */
export async function importVolume(
  pool: string,
  wanted: ImportVolumeRequest,
  { context, keep }: { readonly context: Context; readonly keep: (answer: Volume) => void },
): Promise<Volume> {
  const { ports } = context
  const { store, clock } = ports
  const words = volumeWords({ pool, name: wanted.name })
  const backend = usablePool(pool, ports)
  const record = requirePool(pool, ports)
  if (!backend.capabilities.importInPlace)
    throw new KvasirError('unsupported', `Pool ${pool} takes nothing in place, so ${words} was not imported.`)
  using _ = holdFile(record, { file: wanted.file, work: 'imported' }, context)
  const entry = await requireEntry(record, wanted.file, context)
  requireAlone(pool, entry)
  requireForeign(record, entry, context)
  const id = clock.uuid()
  const encryption = encryptionOf({ pool, format: wanted.format, secret: wanted.encrypt }, ports)
  const key = {
    id,
    file: wanted.file,
    format: wanted.format,
    ...(encryption === undefined ? {} : { encryption }),
  }
  const peeked = await backend.peek?.(wanted.file, packedImageBytes)
  if (peeked && !encryption) refuseOther(peeked, words, wanted)
  requireFreeName({ pool, name: wanted.name }, ports)
  await using undo = new AsyncDisposableStack()
  const { capacityBytes } = await backend.adopt(key, (before) => {
    noteTaken(record, { file: wanted.file, before }, ports)
    undo.defer(() => giveBackTaken(record, wanted.file, ports))
  })
  await ports.failpoint('volume.import.after-take')
  if (encryption) await tryToOpen({ ...backend.source(key), encryption }, context)
  else if (wanted.format === 'raw' && !wanted.force) await refusePacked(backend.source(key), words, context)
  const row: VolumeRecord = {
    id,
    name: wanted.name,
    pool,
    file: wanted.file,
    format: wanted.format,
    ...(encryption === undefined ? {} : { encryption }),
    capacityBytes,
    imageId: undefined,
    baseId: undefined,
    phase: 'ready',
    frozen: false,
    madeForVm: undefined,
    createdAt: clock.now(),
  }
  const answer = await showVolume(row, context)
  store.transaction(() => {
    usablePool(pool, ports)
    requireForeign(record, entry, context)
    requireStillKept(row, ports)
    forgetTaken(record, wanted.file, ports)
    store.volumes.insert(row)
    context.emit('volume.created', words, { id, file: wanted.file })
    keep(answer)
  })
  undo.move() // It is a volume: it stays the pool's.
  return answer
}

async function requireEntry(pool: PoolRecord, name: string, { ports }: Context): Promise<PoolEntry> {
  const entry = (await ports.pools.of(pool).list()).find(({ file }) => file === name)
  if (entry) return entry
  throw new KvasirError(
    'file-not-found',
    `Pool ${pool.name} has nothing called ${name}, so nothing was imported.`,
  )
}

/** What is reached by another name as well is not the pool's alone: a second volume of it, or a file outside, would be written to. */
function requireAlone(pool: string, { file, isVolume, names = 1 }: PoolEntry): void {
  const refuse = (why: string) =>
    new KvasirError('image-refused', `What pool ${pool} has as ${file} ${why}, so it was not imported.`)
  if (!isVolume) throw refuse('is no regular file but a link, a folder or the like')
  if (names > 1)
    throw refuse(
      `is one file with ${names} names (hard links), and who writes by another one would damage it`,
    )
}

/** Whether the secret opens it is known only when it was opened. */
async function tryToOpen(source: VolumeSource, { ports }: Context): Promise<void> {
  const signal = AbortSignal.timeout(openTimeoutMs)
  const open = await ports.access.open([source], { access: 'read', fileSizeBytes: 0, signal })
  await open.close()
}

/** By its first bytes, before anything of it is changed. A qcow2 image is the backend's to judge, which reads its header. */
function refuseOther(
  bytes: Uint8Array,
  words: string,
  { format, force }: Pick<ImportVolumeRequest, 'format' | 'force'>,
): void {
  const found = packedImageOf(bytes)
  if (!found || found.what === 'a qcow2 image') return
  if (format === 'raw' && !force) throw packedRefusal(found, words)
  if (format !== 'qcow2') return
  throw new KvasirError(
    'image-refused',
    `What would be volume ${words} is ${found.what} and no qcow2 image, so it is not imported; ${found.advice}.`,
    { details: { found: found.what } },
  )
}

/** A guest would see the tables of an image, and no disk. */
async function refusePacked(source: VolumeSource, words: string, { ports }: Context): Promise<void> {
  const signal = AbortSignal.timeout(openTimeoutMs)
  const open = await ports.access.open([source], { access: 'read', fileSizeBytes: 0, signal })
  try {
    const length = Math.min(packedImageBytes, open.sizeBytes)
    const found = packedImageOf(await open.read(0, length), await open.read(open.sizeBytes - length, length))
    if (found) throw packedRefusal(found, words)
  } finally {
    await open.close()
  }
}

function packedRefusal({ what, advice }: PackedImage, words: string): KvasirError {
  return new KvasirError(
    'image-refused',
    `What would be volume ${words} is ${what} and not the contents of a disk, so it is not imported; ${advice}, or force takes it as it is.`,
    { details: { found: what } },
  )
}

/** A file is one volume, never two. */
function requireForeign(pool: PoolRecord, entry: PoolEntry, { ports }: Context): void {
  const holder = volumeOf(pool, entry, ports)
  if (holder)
    throw new KvasirError(
      'in-use',
      `The file ${entry.file} is volume ${volumeWords(holder)} already, so it is not imported.`,
    )
}
