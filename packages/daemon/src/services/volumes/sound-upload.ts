/** Which uploads can become a volume at all, by what is said of them before anything comes. */
import { KvasirError, type NewUpload } from '@kvasir/contract'
import type { PoolBackend } from '../../ports/pools.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { requireSecret } from '../secrets/secret-use.ts'
import { volumeWords } from './volume-words.ts'

/** What an upload is to be called. */
export interface VolumePlace {
  readonly pool: string
  readonly name: string
}

/** Where a secret is named, it is the one that the volume has. `secret-not-found`. */
export function hasSecretAsked(
  { encryption }: Pick<VolumeRecord, 'encryption'>,
  { encrypt }: NewUpload,
  { ports }: Context,
): boolean {
  return encrypt === undefined || encryption?.secretId === requireSecret(encrypt, ports.store).id
}

/** Refuses what a pool does not take. `bad-request`, `unsupported`. */
export function requireSound(
  place: VolumePlace,
  {
    wanted,
    format,
    backend,
  }: { readonly wanted: NewUpload; readonly format: VolumeRecord['format']; readonly backend: PoolBackend },
): void {
  const words = volumeWords(place)
  if (wanted.size === 0) throw new KvasirError('bad-request', `Nothing would be uploaded to volume ${words}.`)
  if (!backend.capabilities.formats.includes(format))
    throw new KvasirError('unsupported', `Pool ${place.pool} has no volumes of format ${format}.`)
  if (wanted.format === 'qcow2' && format !== 'qcow2')
    throw new KvasirError(
      'bad-request',
      `A qcow2 file becomes a qcow2 volume; convert volume ${words} when it is there, or upload it as raw.`,
    )
  if (wanted.format === 'qcow2' && wanted.encrypt !== undefined)
    throw new KvasirError(
      'bad-request',
      `A qcow2 file becomes a volume as it is, so volume ${words} would not be encrypted; upload what a guest is to see (raw).`,
    )
  if (wanted.format === 'qcow2' && !backend.capabilities.importInPlace)
    throw new KvasirError(
      'unsupported',
      `Pool ${place.pool} takes no qcow2 files as they are; upload what a guest is to see (raw).`,
    )
}
