/**
 * How a jailed tool gets secrets: each is a file of its own user with mode 0400, bound into the jail behind the inputs, and gone when the
 * tool has ended. What a daemon that died has left is removed when the next one begins; it lies in the runtime directory, on no disk.
 */
import { randomUUID } from 'node:crypto'
import { chown, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JailedToolRequest } from '../../ports/jailed-tools.ts'
import type { SecretValues } from '../files/secret-files.ts'
import type { JailUser } from './jail-users.ts'

/** What a run gets for its secrets. */
interface LaidSecrets {
  /** The arguments of the run, with the objects in them. */
  readonly args: readonly string[]
  /** The files to bind behind the inputs. */
  readonly files: readonly string[]
  remove(): Promise<void>
}

export class JailSecrets {
  readonly #folder: string
  readonly #values: SecretValues

  private constructor(folder: string, values: SecretValues) {
    this.#folder = folder
    this.#values = values
  }

  /** Opens the folder of such files below a runtime directory, empty. */
  static async open(runtimeDir: string, values: SecretValues): Promise<JailSecrets> {
    const folder = join(runtimeDir, 'jail-secrets')
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    return new JailSecrets(folder, values)
  }

  /** Lays the secrets of a run for its user. */
  async lay({ tool, args, inputs, secrets = [] }: JailedToolRequest, user: JailUser): Promise<LaidSecrets> {
    // qemu-img has a command before its options.
    const [first, rest] = tool === 'qemu-storage-daemon' ? [[], args] : [args.slice(0, 1), args.slice(1)]
    const files: string[] = []
    const objects: string[] = []
    const remove = async () => {
      for (const file of files) await rm(file, { force: true })
    }
    try {
      for (const { object, secretId, format } of secrets) {
        objects.push(
          '--object',
          `secret,id=${object},format=${format},file=/in/${inputs.length + files.length}`,
        )
        const file = join(this.#folder, randomUUID())
        files.push(file)
        await writeFile(file, await this.#values.read(secretId), { mode: 0o400, flag: 'wx' })
        await chown(file, user.uid, user.gid)
      }
    } catch (error) {
      await remove()
      throw error
    }
    return { args: [...first, ...objects, ...rest], files, remove }
  }
}
