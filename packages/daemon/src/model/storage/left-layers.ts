/**
 * Layers that were left as bases when their snapshots went, since several others lay on them. Where they lie over a LUN or a logical volume,
 * which is where the disk belongs, a later deletion takes them along. Pure: over rows of volumes.
 *
 * Not here: bases over files, which cost their disk nothing but a link of its chain, and which may be another VM's too.
 */
import type { LayerVolume } from './layer-fate.ts'

export interface LeftVolume extends LayerVolume {
  readonly frozen: boolean
  readonly phase: string
  readonly work?: unknown
  readonly move?: unknown
}

type Find<Volume> = (id: string) => Volume | undefined

/** What a volume lies on, the nearest first. */
export function basesOf<Volume extends LayerVolume>(volume: Volume, find: Find<Volume>): readonly Volume[] {
  const bases: Volume[] = []
  for (let link = baseOf(volume, find); link && !bases.includes(link); link = baseOf(link, find))
    bases.push(link)
  return bases
}

/** The bases of a disk's volume that no snapshot names, down to the LUN or logical volume. None where it lies on no such. */
export function leftLayers<Volume extends LeftVolume>(
  top: Volume,
  find: Find<Volume>,
  named: ReadonlySet<string>,
): readonly Volume[] {
  const bases = basesOf(top, find)
  const ground = bases.at(-1)
  const lowest = bases.at(-2) ?? top
  if (ground === undefined || ground.liesIn !== undefined || lowest.liesIn === undefined) return []
  return bases.filter(
    ({ id, frozen, phase, work, move }) =>
      frozen && phase === 'ready' && work === undefined && move === undefined && !named.has(id),
  )
}

function baseOf<Volume extends LayerVolume>({ baseId }: Volume, find: Find<Volume>): Volume | undefined {
  return baseId === undefined ? undefined : find(baseId)
}
