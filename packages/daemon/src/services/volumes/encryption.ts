/** Which volumes are encrypted, and what that forbids: where something would write in the clear what was encrypted, it is refused. */
import { KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VolumeRecord } from '../../ports/store.ts'
import { usablePool } from '../pools/usable-pool.ts'
import { requireSecret } from '../secrets/secret-use.ts'
import { volumeWords } from './volume-words.ts'

interface Wanted {
  readonly pool: string
  readonly format: VolumeRecord['format']
  /** The name of a secret. */
  readonly secret: string | undefined
}

/** What the row of a volume says of its encryption. `secret-not-found`, `unsupported` where its pool or format has none. */
export function encryptionOf({ pool, format, secret }: Wanted, ports: Ports): VolumeRecord['encryption'] {
  if (secret === undefined) return undefined
  requireEncryption({ pool, format }, ports)
  return { secretId: requireSecret(secret, ports.store).id }
}

/** In the transaction that writes a row: its secret is not deleted, nor about to be. */
export function requireStillKept(
  { encryption }: Pick<VolumeRecord, 'encryption'>,
  { store }: Pick<Ports, 'store'>,
): void {
  if (encryption === undefined || store.secrets.get(encryption.secretId)?.phase === 'ready') return
  throw new KvasirError('secret-not-found', 'The secret was deleted meanwhile, so nothing was made.')
}

/** Refuses a place and a format in which what is encrypted would lie in the clear. */
export function requireEncryption({ pool, format }: Omit<Wanted, 'secret'>, ports: Ports): void {
  const { encryption, formats } = usablePool(pool, ports).capabilities
  const named: readonly VolumeRecord['format'][] = formats
  if (encryption !== true || !named.includes(format))
    throw new KvasirError(
      'unsupported',
      `Pool ${pool} has no encrypted ${format} volumes, so this one would not be encrypted.`,
    )
}

/** Refuses what is not done to encrypted volumes. */
export function requirePlain(volume: VolumeRecord, consequence: string): void {
  if (volume.encryption === undefined) return
  throw new KvasirError('unsupported', `Volume ${volumeWords(volume)} is encrypted, so ${consequence}.`)
}
