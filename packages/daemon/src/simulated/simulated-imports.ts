/** What others put into the pools of a simulated machine: by another key than the id of a volume, until it is one. */
import { KvasirError } from '@kvasir/contract'
import type { ForeignKey, WordsBefore } from '../ports/pools.ts'
import type { SimulatedMachine } from './machine.ts'

/** Takes a file of others for a volume. */
export function adoptForeign(
  { volumes, contents }: SimulatedMachine,
  { id, file }: ForeignKey,
  note?: (before: WordsBefore) => void,
): { readonly capacityBytes: number } {
  const [key, volume] = [...volumes].find(([id, found]) => (found.file ?? `${id}.qcow2`) === file) ?? []
  if (key === undefined || !volume) throw new KvasirError('file-not-found', `There is no file ${file}.`)
  note?.([key])
  volumes.delete(key)
  volumes.set(id, volume)
  const blocks = contents.get(key)
  if (blocks) contents.set(id, blocks)
  return { capacityBytes: volume.capacityBytes }
}

/** Leaves it as it was. */
export function giveBackForeign({ volumes }: SimulatedMachine, file: string, [key = '']: WordsBefore): void {
  const [id, volume] = [...volumes].find(([, found]) => found.file === file) ?? []
  if (id === undefined || !volume) return
  volumes.delete(id)
  volumes.set(key, volume)
}
