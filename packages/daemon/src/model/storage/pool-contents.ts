/** What lies in a pool against what the store knows of it. Nothing is adopted: this only tells. */
import type { PoolFinding } from '@kvasir/contract'

/** Findings that are told at most; a folder of others may hold any number of files. */
const mostFindings = 1000
const sectorBytes = 512

interface Entry {
  readonly file: string
  readonly volumeId: string | undefined
  readonly isVolume: boolean
  readonly sizeBytes: number
  readonly names?: number
}

interface Volume {
  readonly id: string
  readonly name: string
  readonly file?: string | undefined
  readonly phase: 'creating' | 'uploading' | 'ready' | 'deleting'
}

/** Compares entries with the volumes of the pool. */
export function compareContents(entries: readonly Entry[], volumes: readonly Volume[]): PoolFinding[] {
  const byId = new Map(volumes.filter(({ file }) => file === undefined).map((one) => [one.id, one]))
  const byFile = new Map(volumes.flatMap((one) => (one.file === undefined ? [] : [[one.file, one] as const])))
  const seen = new Set<string>()
  const findings: PoolFinding[] = []
  for (const entry of entries) {
    const { file, volumeId, sizeBytes } = entry
    const volume = byFile.get(file) ?? (volumeId === undefined ? undefined : byId.get(volumeId))
    if (volume) {
      if (entry.isVolume) seen.add(volume.id)
      else
        findings.push({
          kind: 'changed',
          file,
          volume: volume.name,
          detail: `Where volume ${volume.name} was there is something that is not a regular file.`,
        })
      continue
    }
    if (volumeId !== undefined)
      findings.push({
        kind: 'orphan',
        file,
        sizeBytes,
        detail: 'It is named like a volume of ours and belongs to none.',
      })
    else
      findings.push({
        kind: 'foreign',
        file,
        sizeBytes,
        detail: entry.isVolume ? `It is no volume of ours. ${chanceOf(entry)}` : 'It is not a regular file.',
      })
  }
  for (const volume of volumes)
    if (volume.phase === 'ready' && !seen.has(volume.id))
      findings.unshift({
        kind: 'missing',
        file: volume.file ?? volume.id,
        volume: volume.name,
        detail: `Volume ${volume.name} has no file.`,
      })
  return findings.slice(0, mostFindings)
}

/** Whether it could be imported; what a file is inside, nobody has looked at. */
function chanceOf({ names = 1, sizeBytes }: Entry): string {
  if (names > 1) return 'It has another name as well (a hard link), so it cannot be imported.'
  if (sizeBytes === 0) return 'It is empty, so it cannot be imported.'
  return sizeBytes % sectorBytes === 0
    ? 'It can be imported.'
    : `It has ${sizeBytes} bytes, which is no whole number of sectors, so it cannot be imported unless it is a qcow2 file.`
}
