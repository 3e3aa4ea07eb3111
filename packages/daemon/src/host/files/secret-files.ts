/**
 * What secrets are, as files: `secrets/ID` below the state directory, of root with mode 0600.
 *
 * They lie beside the store, on a local disk, so these calls may use Node's own file-system threads. Only adapters read one (`read`), for as
 * long as it takes to hand it on.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import type { SecretFiles } from '../../ports/secrets.ts'
import { removeFiles, replaceFile, syncPath } from './synced-files.ts'

const generatedBytes = 32

/** Gives what a secret is, to adapters. */
export interface SecretValues {
  /** `secret-not-found` when its file is gone. */
  read(id: string): Promise<Buffer>
}

/** Opens the secrets of a state directory, making their folder; what a killed daemon half wrote is removed. */
export async function openSecretFiles(stateDir: string): Promise<SecretFiles & SecretValues> {
  const folder = join(stateDir, 'secrets')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await syncPath(stateDir)
  const half = (await readdir(folder)).filter((name) => name.endsWith('.partial'))
  await removeFiles(...half.map((name) => join(folder, name)))

  const pathOf = (id: string) => join(folder, checkedId(id))
  return {
    write: (id, value) => replaceFile(pathOf(id), Buffer.from(value)),
    generate: (id) => replaceFile(pathOf(id), Buffer.from(randomBytes(generatedBytes).toString('base64'))),
    remove: (id) => removeFiles(pathOf(id)),
    async read(id) {
      const path = pathOf(id)
      try {
        return await readFile(path)
      } catch (cause) {
        throw new KvasirError(
          'secret-not-found',
          `The file of secret ${id} cannot be read, so nothing can use it.`,
          {
            details: { secret: id },
            cause,
          },
        )
      }
    },
  }
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}
