/** What a folder of the host is. The path is a user's and may lie on a file system that hangs, so a child looks at it. */
import { KvasirError } from '@kvasir/contract'
import { CommandError, runCommand } from '@kvasir/linux'
import type { SeenFolder } from '../../model/storage/judge-share.ts'

const lookTimeoutMs = 5_000

/** `file-not-found` where nobody can say in time. */
export async function lookAtFolder(folder: string): Promise<SeenFolder> {
  const [kind, real] = await Promise.all([
    lineOf(folder, ['stat', '--dereference', '--format=%F', '--', folder]),
    lineOf(folder, ['realpath', '--', folder]),
  ])
  return { folder, kind, real: real ?? folder }
}

async function lineOf(folder: string, command: readonly [string, ...string[]]): Promise<string | undefined> {
  try {
    const { stdout } = await runCommand(command, { timeoutMs: lookTimeoutMs })
    return stdout.replace(/\n$/, '')
  } catch (error) {
    if (!(error instanceof CommandError) || error.failure !== 'timeout') return undefined
    throw new KvasirError(
      'file-not-found',
      `The folder ${folder} could not be looked at in time, so it is not shared.`,
      {
        details: { folder },
        cause: error,
      },
    )
  }
}
