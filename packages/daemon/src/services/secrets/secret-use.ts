/** From the name of a secret to its row, and who needs it. */
import { KvasirError } from '@kvasir/contract'
import type { PoolRecord, SecretRecord, Store } from '../../ports/store.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** The row of a secret. `secret-not-found` when there is none. */
export function requireSecret(name: string, store: Store): SecretRecord {
  const secret = store.secrets.findByName(name)
  if (secret && secret.phase !== 'creating') return secret
  throw new KvasirError('secret-not-found', `There is no secret ${name}.`)
}

/** Those that need a secret, in words such as `pool ceph1`. */
export function usersOfSecret(secret: Pick<SecretRecord, 'id'>, store: Store): readonly string[] {
  return [
    ...poolsOpenedWith(secret, store).map(({ name }) => `pool ${name}`),
    ...encryptedWith(secret, store),
  ]
}

/** The pools that a secret opens. */
function poolsOpenedWith({ id }: Pick<SecretRecord, 'id'>, store: Store): readonly PoolRecord[] {
  return store.pools.list().filter(({ source }) => 'secretId' in source && source.secretId === id)
}

/** The volumes that are encrypted with a secret, in words. */
export function encryptedWith({ id }: Pick<SecretRecord, 'id'>, store: Store): readonly string[] {
  const volumes = store.volumes.list().filter(({ encryption }) => encryption?.secretId === id)
  return volumes.map((volume) => `volume ${volumeWords(volume)}`)
}
