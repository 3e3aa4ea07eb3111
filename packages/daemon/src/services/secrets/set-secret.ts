/**
 * Gives a secret another value, as when its key was changed in a cluster: a row that says `changing`, so that nothing is made with it
 * meanwhile, then its file in one step, then `ready`. One or the other is in the file whatever this dies of.
 *
 * What a volume is encrypted with is not changed here: its header would know the former one alone.
 */
import { KvasirError, type Secret, type SecretValue } from '@kvasir/contract'
import type { SecretRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { encryptedWith } from './secret-use.ts'
import { showSecret } from './show-secret.ts'

/** Gives a secret another value. `in-use` names the volumes that are encrypted with it. */
export async function setSecret(
  { id }: SecretRecord,
  { value }: SecretValue,
  { ports, emit }: Context,
): Promise<Secret> {
  const { store, secrets, failpoint } = ports
  const changing = store.transaction(() => {
    const secret = store.secrets.get(id)
    if (secret?.phase !== 'ready')
      throw new KvasirError('busy', 'The secret is being changed or deleted, so it is not set.')
    requireNoVolumes(secret, encryptedWith(secret, store))
    const row: SecretRecord = { ...secret, phase: 'changing' }
    store.secrets.update(row)
    return row
  })
  const ready: SecretRecord = { ...changing, phase: 'ready' }
  let isWritten = false
  try {
    await failpoint('secret.set.after-phase')
    await secrets.write(id, value)
    isWritten = true
    await failpoint('secret.set.after-file')
  } finally {
    store.transaction(() => {
      store.secrets.update(ready)
      if (isWritten) emit('secret.changed', ready.name, { id })
    })
  }
  return showSecret(ready, store)
}

function requireNoVolumes({ name }: SecretRecord, volumes: readonly string[]): void {
  if (volumes.length === 0) return
  throw new KvasirError(
    'in-use',
    `Secret ${name} opens ${volumes.join(', ')}, and another value would not, so it stays as it is. What they hold can be copied to volumes that are created with another secret.`,
    { details: { usedBy: volumes } },
  )
}
