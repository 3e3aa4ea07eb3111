/** From the name of a secret to its row, and who needs it. */
import { KvasirError } from '@kvasir/contract'
import type { SecretRecord, Store } from '../../ports/store.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** The row of a secret. `secret-not-found` when there is none. */
export function requireSecret(name: string, store: Store): SecretRecord {
  const secret = store.secrets.findByName(name)
  if (secret && secret.phase !== 'creating') return secret
  throw new KvasirError('secret-not-found', `There is no secret ${name}.`)
}

/** Those that need a secret, in words such as `pool ceph1`. */
export function usersOfSecret(secret: Pick<SecretRecord, 'id'>, store: Store): readonly string[] {
  const pools = store.pools
    .list()
    .filter(({ source }) => 'secretId' in source && source.secretId === secret.id)
    .map(({ name }) => `pool ${name}`)
  const volumes = store.volumes
    .list()
    .filter(({ encryption }) => encryption?.secretId === secret.id)
    .map((volume) => `volume ${volumeWords(volume)}`)
  return [...pools, ...volumes]
}
