/**
 * The right to a file of a pool that is no volume yet: who makes it one, or gives it back as it was, has it alone. Only in memory, since
 * it ends with the daemon; what the next one has to know is noted (taken-files.ts).
 */
import { KvasirError } from '@kvasir/contract'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** A file that somebody is at. */
export interface HeldFile {
  readonly poolId: string
  readonly file: string
  readonly work: 'imported' | 'given back as it was'
}

type Holds = Pick<Context, 'heldFiles'>

/** Takes a file until it is disposed of. `busy` while somebody else has it. */
export function holdFile(
  pool: PoolRecord,
  { file, work }: Pick<HeldFile, 'file' | 'work'>,
  { heldFiles }: Holds,
): Disposable {
  const other = [...heldFiles].find((one) => one.poolId === pool.id && one.file === file)
  if (other)
    throw new KvasirError(
      'busy',
      `The file ${file} of pool ${pool.name} is being ${other.work}, so nothing else is done to it.`,
    )
  const held = { poolId: pool.id, file, work }
  heldFiles.add(held)
  return { [Symbol.dispose]: () => void heldFiles.delete(held) }
}

/** Whether somebody has a file. */
export function isHeld(pool: PoolRecord, file: string, { heldFiles }: Holds): boolean {
  return [...heldFiles].some((one) => one.poolId === pool.id && one.file === file)
}

/** Refuses to delete a pool while somebody has a file of it. `busy`. */
export function requireNoneHeld(pool: PoolRecord, { heldFiles }: Holds): void {
  const held = [...heldFiles].find((one) => one.poolId === pool.id)
  if (held)
    throw new KvasirError(
      'busy',
      `The file ${held.file} of pool ${pool.name} is being ${held.work}, so the pool is not deleted.`,
    )
}
