/** What lies in a pool against what the store knows of it. Nothing is adopted: this only tells. */
import { KvasirError, type PoolFinding, packedImageOf, type VolumeFormat } from '@kvasir/contract'
import { parseQcow2Header } from './qcow2-header.ts'

/** Findings that are told at most; a folder of others may hold any number of files. */
const mostFindings = 1000
const sectorBytes = 512
/** What a header of qcow2 has at least, of version 3. */
const leastHeaderBytes = 104

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

/** The files among entries that others made, as many of them as are told of: what they are, their first bytes say. */
export function strangersAmong(
  entries: readonly Entry[],
  volumes: readonly Pick<Volume, 'file'>[],
): readonly string[] {
  const known = new Set(volumes.map(({ file }) => file))
  return entries
    .filter(
      ({ file, volumeId, isVolume, sizeBytes }) =>
        isVolume && volumeId === undefined && sizeBytes > 0 && !known.has(file),
    )
    .map(({ file }) => file)
    .slice(0, mostFindings)
}

/** What was looked into: the first bytes of files of others, and of what formats volumes of the pool can be. */
interface Looks {
  readonly beginnings?: ReadonlyMap<string, Uint8Array>
  readonly formats?: readonly VolumeFormat[]
}

/** Compares entries with the volumes of the pool. */
export function compareContents(
  entries: readonly Entry[],
  volumes: readonly Volume[],
  { beginnings = new Map(), formats = ['qcow2', 'raw'] }: Looks = {},
): PoolFinding[] {
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
        detail: entry.isVolume
          ? `It is no volume of ours. ${chanceOf(entry, { beginning: beginnings.get(file), formats })}`
          : 'It is not a regular file.',
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

/** Whether it could be imported, and as what, as far as anybody has looked. */
function chanceOf(
  { file, names = 1, sizeBytes }: Entry,
  {
    beginning,
    formats,
  }: { readonly beginning: Uint8Array | undefined; readonly formats: readonly VolumeFormat[] },
): string {
  if (names > 1) return 'It has another name as well (a hard link), so it cannot be imported.'
  if (sizeBytes === 0) return 'It is empty, so it cannot be imported.'
  const inside =
    beginning &&
    (formats.includes('qcow2') ? chanceOfPacked({ file, sizeBytes }, beginning) : chanceOfRaw(beginning))
  if (inside !== undefined) return inside
  if (sizeBytes % sectorBytes === 0) return beginning ? 'It can be imported as raw.' : 'It can be imported.'
  return `It has ${sizeBytes} bytes, which is no whole number of sectors, so it cannot be imported${beginning ? '' : ' unless it is a qcow2 file'}.`
}

/** The same of what is no contents of a disk by its first bytes; undefined for what may be. */
function chanceOfPacked(
  { file, sizeBytes }: Pick<Entry, 'file' | 'sizeBytes'>,
  beginning: Uint8Array,
): string | undefined {
  const packed = packedImageOf(beginning)
  if (packed === undefined) return undefined
  const { what, advice } = packed
  if (what === 'a qcow2 image') return chanceOfQcow2({ file, sizeBytes }, beginning)
  if (what === 'a LUKS container')
    return `It is ${what}, which can be imported as raw with the secret that opens it.`
  return `It is ${what}, so it is imported neither as raw nor as qcow2; ${advice}.`
}

/** The same where volumes are raw alone. */
function chanceOfRaw(beginning: Uint8Array): string | undefined {
  const { what } = packedImageOf(beginning) ?? {}
  if (what === undefined) return undefined
  if (what === 'a LUKS container')
    return `It is ${what}, which can be imported as raw with the secret that opens it.`
  return `It begins like ${what}, and volumes here are raw, so it is imported by force alone: a guest would see that, and no disk.`
}

function chanceOfQcow2(
  { file, sizeBytes }: Pick<Entry, 'file' | 'sizeBytes'>,
  beginning: Uint8Array,
): string {
  if (beginning.length < leastHeaderBytes)
    return 'It begins like a qcow2 image and ends within its header, so it cannot be imported.'
  try {
    const { backingFile, isEncrypted } = parseQcow2Header(file, beginning, sizeBytes)
    if (backingFile !== undefined)
      return `It is a qcow2 image that lies on another file (${JSON.stringify(backingFile)}), so it cannot be imported.`
    if (isEncrypted)
      return 'It is an encrypted qcow2 image, which can be imported as qcow2 with the secret that opens it.'
    return 'It is a qcow2 image and can be imported as qcow2.'
  } catch (error) {
    if (!(error instanceof KvasirError)) throw error
    const { why } = error.details
    return `It ${typeof why === 'string' ? why : 'is a qcow2 image that cannot be read'}, so it cannot be imported.`
  }
}
