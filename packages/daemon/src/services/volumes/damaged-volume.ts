/** What an emulator did not open, by the name that its owner knows, with what can be done about it. */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { sourceOf } from './volume-files.ts'
import { volumeWords } from './volume-words.ts'

/** A refusal of a damaged file as one that names the volume or image and the remedy; any other error as it is. */
export function namingVolume(error: unknown, ports: Ports): unknown {
  if (!(error instanceof KvasirError) || error.code !== 'volume-damaged') return error
  const { disk, path, why, remedy, consequence } = error.details
  const isTold = [disk, path, why, consequence].every((one) => typeof one === 'string')
  if (!isTold || path === '') return error
  const volume = ports.store.volumes.list().find((row) => isAt(row, String(path), ports))
  const image = ports.store.imageNames.list().find(({ id }) => ports.images.paths(id).disk === path)
  if (volume === undefined && image === undefined) return error
  const name = volume ? volumeWords(volume) : (image?.name ?? '')
  return new KvasirError(
    'volume-damaged',
    `Disk ${String(disk)} lies on ${volume ? 'volume' : 'image'} ${name}, which ${String(why)}, so ${String(consequence)}; ` +
      `${helpOf({ volume, name, remedy })}.`,
    { details: { ...error.details, [volume ? 'volume' : 'image']: name }, cause: error },
  )
}

function helpOf({
  volume,
  name,
  remedy,
}: {
  readonly volume: VolumeRecord | undefined
  readonly name: string
  readonly remedy: unknown
}): string {
  if (volume && remedy === 'repair') return mend(volume, name)
  if (volume && remedy === 'check')
    return `\`kvasir volume check ${name}\` tells how bad it is, and only a backup or another copy brings it back, since a repair would give up what is left`
  return restore(volume !== undefined)
}

function mend({ frozen }: VolumeRecord, name: string): string {
  return frozen
    ? '`kvasir volume check` tells how bad it is, and a backup or another copy brings it back'
    : `\`kvasir volume repair ${name}\` mends its tables`
}

function restore(isVolume: boolean): string {
  return isVolume
    ? 'neither `volume check` nor `volume repair` can open it, so restore it from a backup or another copy'
    : 'import or build the image anew'
}

/** A pool that does not answer is not asked: where a volume lies is known without it. */
function isAt(row: VolumeRecord, path: string, ports: Ports): boolean {
  try {
    const source = sourceOf(row, ports)
    return source.kind !== 'protocol' && source.path === path
  } catch {
    return false // Its pool has no row any more.
  }
}
