/**
 * How QEMU gets a secret, never as an argument.
 *
 * When it starts: as a file in the directory that it shares with the daemon, of its own uid with mode 0400, which it reads when it makes
 * the object. It is removed before the guest begins; where a daemon dies before that, with the next look at the emulator, and with its
 * runtime directory, which is no disk. While it runs: over its monitor, whose lines are written down nowhere.
 */
import { chown, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import { diskOf } from '../../model/qemu/disk-of.ts'
import type { EmulatorPlan } from '../../model/qemu/emulator-plan.ts'
import { isSecretObject } from '../../model/qemu/ids.ts'
import type { SecretObject } from '../../model/storage/secret-use.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { isWrongSecret } from '../pools/encrypted-qcow2.ts'

/** For what opens an encrypted volume: its passphrase is hashed for half a second on a host that does nothing else. */
export const keyTimeoutMs = 60_000

/** Puts the secrets of a start where its arguments say. The directory must be closed to everyone else. */
export async function laySecrets(
  share: string,
  plan: Pick<EmulatorPlan, 'secrets' | 'ids'>,
  { values, uid }: { readonly values: SecretValues; readonly uid: number },
): Promise<void> {
  for (const { object, secretId } of plan.secrets) {
    const path = join(share, object)
    const value = await values.read(secretId).catch((cause: unknown) => {
      throw missing(cause, diskOf(object, plan) ?? object)
    })
    await writeFile(path, value, { mode: 0o400, flag: 'wx' })
    await chown(path, uid, uid)
  }
}

function missing(cause: unknown, disk: string): unknown {
  if (!(cause instanceof KvasirError && cause.code === 'secret-not-found')) return cause
  const sentence = `The secret of disk ${disk} is not kept any more, so the VM does not run.`
  return new KvasirError('secret-not-found', sentence, { details: { ...cause.details, disk }, cause })
}

/** Takes away what `laySecrets` put there. */
export async function removeSecrets(share: string): Promise<void> {
  const names = await readdir(share).catch(() => [])
  for (const name of names.filter(isSecretObject)) await rm(join(share, name), { force: true })
}

/** Has a running QEMU know a secret while something is opened with it: QEMU looks it up then and never again (crypto/secret_common.c). */
export async function withSecret<T>(
  monitor: QmpClient,
  secret: SecretObject | undefined,
  { values, open }: { readonly values: SecretValues; readonly open: () => Promise<T> },
): Promise<T> {
  if (secret === undefined) return await open()
  await addSecret(monitor, secret, values)
  try {
    return await open()
  } catch (error) {
    throw asRefusal(error, 'A volume')
  } finally {
    await monitor.execute('object-del', { id: secret.object }).catch(() => undefined) // A monitor that is gone said so already.
  }
}

/** QEMU's refusal of a passphrase as one of ours; any other error as it is. `whose`: what it was to open. */
export function asRefusal(error: unknown, whose: string): unknown {
  if (!(error instanceof QmpError && isWrongSecret(error.message))) return error
  return new KvasirError(
    'secret-refused',
    `${whose} is encrypted with another secret than the one that is kept for it, so it is not opened.`,
    { cause: error },
  )
}

/** Gives a running QEMU a secret, in place of what an attempt before has left. No node may use it yet. */
export async function addSecret(
  monitor: QmpClient,
  { object, secretId, format }: SecretObject,
  values: SecretValues,
): Promise<void> {
  await monitor.execute('object-del', { id: object }).catch((error: unknown) => {
    if (!(error instanceof QmpError)) throw error // It has none.
  })
  const value = await values.read(secretId)
  // The value travels as base64 in any case; QEMU would take a second layer of it for the secret itself.
  const data = format === 'base64' ? value.toString('latin1').trim() : value.toString('base64')
  await monitor.execute('object-add', { 'qom-type': 'secret', id: object, data, format: 'base64' })
}
