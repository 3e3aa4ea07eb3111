/**
 * What others made and is taken for a volume, until it is one: how it was is written down with its pool before anything of it is changed,
 * so that whoever ends an import, or the daemon, leaves it as it was. Of a file there is one note at most, which says how its owner left
 * it, however often it was tried; and none of a file that is a volume. Who writes one down holds the file (hold-file.ts).
 */
import { KvasirError } from '@kvasir/contract'
import type { TakenFile } from '../../ports/pool-source.ts'
import type { Ports } from '../../ports/ports.ts'
import type { PoolRecord, VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { placeName } from '../pools/usable-pool.ts'
import { holdFile, isHeld } from './hold-file.ts'

/** Writes down how something was. What is noted of it already, and could not be given back, counts: it was changed since. */
export function noteTaken(
  pool: PoolRecord,
  { file, before }: TakenFile,
  { store }: Pick<Ports, 'store'>,
): void {
  store.transaction(() => {
    const record = store.pools.get(pool.id)
    if (!record) throw new KvasirError('pool-not-found', `There is no pool ${pool.name} any more.`)
    const { taken = [] } = record
    const note = noteOf(record, file) ?? { file, before }
    store.pools.update({ ...record, taken: [...taken.filter((one) => one.file !== file), note] })
  })
}

/** It is a volume now, or as it was. */
export function forgetTaken(pool: PoolRecord, file: string, { store }: Pick<Ports, 'store'>): void {
  store.transaction(() => {
    const record = store.pools.get(pool.id)
    if (!record?.taken) return
    const { taken, ...rest } = record
    const left = taken.filter((one) => one.file !== file)
    store.pools.update(left.length === 0 ? rest : { ...rest, taken: left })
  })
}

/** Leaves what was taken as it was found; where that cannot be, it is tried when the pool answers anew, or by the next daemon. */
export async function giveBackTaken(pool: PoolRecord, file: string, ports: Ports): Promise<void> {
  try {
    await giveBack(pool, file, ports)
  } catch (err) {
    ports.log.error({ pool: pool.name, file, err }, 'what was not imported could not be given back as it was')
  }
}

/** Gives back all that nobody is at, in a pool that answers. */
export async function settleTaken(pool: PoolRecord, context: Context): Promise<void> {
  for (const file of filesTaken(pool, context.ports)) {
    const isDeleted = context.ports.store.pools.get(pool.id)?.phase !== 'ready' // Who deletes it gives back.
    if (isDeleted || isHeld(pool, file, context)) continue
    using _ = holdFile(pool, { file, work: 'given back as it was' }, context)
    await giveBackTaken(pool, file, context.ports)
  }
}

/** Gives back all before a pool is let go of. Throws what is in the way, unless what lies in it is kept: its place may be gone for good. */
export async function giveBackAll(pool: PoolRecord, ports: Ports): Promise<void> {
  const giveOneBack = pool.removesData ? giveBack : giveBackTaken
  for (const file of filesTaken(pool, ports)) await giveOneBack(pool, file, ports)
}

/** The volume that a file is. One that the daemon made itself bears its id instead of a name. */
export function volumeOf(
  pool: PoolRecord,
  { file, volumeId }: { readonly file: string; readonly volumeId?: string | undefined },
  { store }: Pick<Ports, 'store'>,
): VolumeRecord | undefined {
  return store.volumes
    .list()
    .find(
      (volume) =>
        placeName(volume) === pool.name &&
        (volume.file === undefined ? volume.id === volumeId : volume.file === file),
    )
}

async function giveBack(pool: PoolRecord, file: string, ports: Ports): Promise<void> {
  const note = noteOf(ports.store.pools.get(pool.id), file)
  if (!note) return
  if (!volumeOf(pool, { file }, ports)) await ports.pools.of(pool).giveBack?.(file, note.before)
  forgetTaken(pool, file, ports)
}

/** The first note is of how it was when nobody had changed it. */
function noteOf(record: PoolRecord | undefined, file: string): TakenFile | undefined {
  return record?.taken?.find((one) => one.file === file)
}

function filesTaken(pool: PoolRecord, { store }: Pick<Ports, 'store'>): ReadonlySet<string> {
  return new Set(store.pools.get(pool.id)?.taken?.map(({ file }) => file))
}
