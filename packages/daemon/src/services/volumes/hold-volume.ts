/**
 * The right to do something to a volume: its row says what is done, so that nothing else is begun and nobody takes or deletes it; and
 * the VMs that have it do nothing meanwhile.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VolumeRecord, VolumeWork } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { vmsUsing } from './volume-use.ts'
import { volumeWords } from './volume-words.ts'

/** Refuses a volume that something is done to. */
export function requireNoWork(volume: VolumeRecord): void {
  if (volume.work === undefined) return
  const words = volumeWords(volume)
  throw new KvasirError('busy', `Volume ${words} is being ${volume.work}, so nothing else is done to it.`)
}

/** Refuses a spec in which a disk would be on another volume, or gone, while something is done to the one that it is on. */
export function requireNoneWorkedOn(before: Pick<VmRecord, 'spec'>, spec: VmSpec, { store }: Ports): void {
  for (const { name, pool, volume } of before.spec.disks) {
    const now = spec.disks.find((disk) => disk.name === name)
    const found = volume === undefined ? undefined : store.volumes.find(pool, volume)
    if (found && (now?.volume !== volume || now?.pool !== pool)) requireNoWork(found)
  }
}

/** Refuses what nobody may write to, or what is not whole. */
export function requireWhole(volume: VolumeRecord): void {
  requireNoWork(volume)
  const words = volumeWords(volume)
  if (volume.phase === 'deleting') throw new KvasirError('busy', `Volume ${words} is being deleted.`)
  if (volume.phase === 'uploading')
    throw new KvasirError('busy', `Volume ${words} is being uploaded, so nothing else is done to it.`)
  if (volume.frozen)
    throw new KvasirError('in-use', `Volume ${words} is the base of others, so it stays as it is.`)
}

/** Writes down what is begun with a volume, which is read anew for that; answers its row. */
export function beginWork(volume: VolumeRecord, work: VolumeWork, { ports }: Context): VolumeRecord {
  const { store } = ports
  return store.transaction(() => {
    const now = store.volumes.get(volume.id)
    if (!now) throw new KvasirError('volume-not-found', `There is no volume ${volumeWords(volume)} any more.`)
    requireWhole(now)
    const held: VolumeRecord = { ...now, work }
    store.volumes.update(held)
    return held
  })
}

/** Nothing is done to a volume any more. */
export function endWork(volumeId: string, { ports }: Context): void {
  const { store } = ports
  const volume = store.volumes.get(volumeId)
  if (volume?.work === undefined) return
  const { work: _, ...rest } = volume
  store.volumes.update(rest)
}

/** Holds the seats of all VMs that have a volume while work is done. `busy` when one is in a long action. */
export async function withSeats<T>(
  volume: VolumeRecord,
  context: Context,
  work: (seats: readonly Seat[]) => Promise<T>,
): Promise<T> {
  const drivers = vmsUsing(volume, context.ports.store).flatMap(({ id }) => context.drivers.get(id) ?? [])
  const take = async (seats: readonly Seat[]): Promise<T> => {
    const next = drivers[seats.length]
    if (next === undefined) return await work(seats)
    return await next.take('edit', (seat) => take([...seats, seat]))
  }
  return await take([])
}

/** Refuses while a VM that has the volume is not off. */
export function requireOff(volume: VolumeRecord, seats: readonly Seat[], consequence: string): void {
  for (const { record } of seats) {
    if (isOff(record) && record.life.state !== 'saved') continue
    throw new KvasirError(
      'in-use',
      `Volume ${volumeWords(volume)} is in use by VM ${record.name}, which is ${record.life.state}, so it ${consequence}.`,
    )
  }
}
