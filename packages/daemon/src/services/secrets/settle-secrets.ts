/** Secrets after a restart of the daemon: those that were being kept are taken back, those that were being deleted are. */
import type { Context } from '../context.ts'
import { undoSecret } from './create-secret.ts'
import { finishSecretDeletion } from './delete-secret.ts'

/** Undoes and finishes what a former daemon was doing with secrets. */
export async function settleSecrets(context: Pick<Context, 'ports' | 'emit'>): Promise<void> {
  const { ports } = context
  for (const record of ports.store.secrets.list()) {
    try {
      if (record.phase === 'creating') await undoSecret(record, ports)
      else if (record.phase === 'changing') ports.store.secrets.update({ ...record, phase: 'ready' })
      else if (record.phase === 'deleting') await finishSecretDeletion(record, context)
    } catch (error) {
      ports.log.error({ secret: record.name, err: error }, 'a secret that is left could not be removed')
    }
  }
}
