/** A secret as the API shows it: everything but what it is. */
import type { Secret } from '@kvasir/contract'
import type { SecretRecord, Store } from '../../ports/store.ts'
import { usersOfSecret } from './secret-use.ts'

/** The API's view of a secret. */
export function showSecret(secret: SecretRecord, store: Store): Secret {
  return { name: secret.name, createdAt: secret.createdAt, usedBy: [...usersOfSecret(secret, store)] }
}
