/** Keeps a secret: a row that says `creating`, its file, then `ready`. Recovery undoes what was interrupted. */
import type { NewSecret, Secret } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { SecretRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { showSecret } from './show-secret.ts'

/** Keeps a secret, or makes one. `name-taken`. */
export async function createSecret(wanted: NewSecret, { ports, emit }: Context): Promise<Secret> {
  const { store, clock, secrets, failpoint } = ports
  const record: SecretRecord = {
    id: clock.uuid(),
    name: wanted.name,
    phase: 'creating',
    createdAt: clock.now(),
  }
  await failpoint('secret.create.before-row')
  store.secrets.insert(record)
  await using undo = new AsyncDisposableStack()
  undo.defer(() => undoSecret(record, ports))
  await failpoint('secret.create.after-row')
  if (wanted.value === undefined) await secrets.generate(record.id)
  else await secrets.write(record.id, wanted.value)
  await failpoint('secret.create.after-file')
  const ready: SecretRecord = { ...record, phase: 'ready' }
  store.transaction(() => {
    store.secrets.update(ready)
    emit('secret.created', record.name, { id: record.id })
  })
  undo.move()
  await failpoint('secret.create.after-ready')
  return showSecret(ready, store)
}

/** Takes back a secret that was not finished. Safe to repeat. */
export async function undoSecret(
  record: SecretRecord,
  { store, secrets }: Pick<Ports, 'store' | 'secrets'>,
): Promise<void> {
  await secrets.remove(record.id)
  store.secrets.remove(record.id)
}
