/** Deletes a secret: its row says `deleting` first, so that who deletes it again, or the next daemon, goes on. */
import { KvasirError } from '@kvasir/contract'
import type { SecretRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { usersOfSecret } from './secret-use.ts'

/** Deletes a secret. `in-use` names who needs it. */
export async function deleteSecret(secret: SecretRecord, context: Context): Promise<void> {
  const { store, failpoint } = context.ports
  await failpoint('secret.delete.before-phase')
  store.transaction(() => {
    const users = usersOfSecret(secret, store)
    if (users.length > 0)
      throw new KvasirError(
        'in-use',
        `Secret ${secret.name} is needed by ${users.join(', ')}, so it is not deleted.`,
        { details: { usedBy: users } },
      )
    store.secrets.update({ ...secret, phase: 'deleting' })
  })
  await failpoint('secret.delete.after-phase')
  await finishSecretDeletion(secret, context)
}

/** Removes the file of a secret whose phase is `deleting`, then its row. Safe to repeat. */
export async function finishSecretDeletion(
  { id, name }: SecretRecord,
  { ports, emit }: Pick<Context, 'ports' | 'emit'>,
): Promise<void> {
  const { store, secrets, failpoint } = ports
  await secrets.remove(id)
  await failpoint('secret.delete.after-file')
  store.transaction(() => {
    store.secrets.remove(id)
    emit('secret.deleted', name, { id })
  })
  await failpoint('secret.delete.after-row')
}
