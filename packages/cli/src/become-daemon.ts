/** Turning this process into the daemon, so that signals, pid and stdio are the daemon's own. */
import { existsSync } from 'node:fs'
import { getCompileCacheDir } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KvasirError } from '@kvasir/contract/error-table'
import type { Action } from './command.ts'

export const becomeDaemon: Action = async (context) => {
  const daemon = fileURLToPath(new URL('../../daemon', import.meta.url))
  // The bundle of tools/bundle-daemon.ts, where it was made; it runs the sources itself when they have changed since.
  const [main = ''] = [join(daemon, '.cache/start.cjs'), join(daemon, 'src/main.ts')].filter(existsSync)
  if (main === '') {
    throw new KvasirError(
      'unsupported',
      `The daemon is not installed beside this command line: ${daemon} does not have it.`,
    )
  }
  if (process.execve === undefined)
    throw new KvasirError('unsupported', 'This Node cannot become another program.')
  const words = [process.execPath, '--disable-warning=ExperimentalWarning', main, ...context.rest]
  const cache = getCompileCacheDir()
  // The folder in use is one of this Node's version inside the one that was asked for.
  const environment =
    cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(cache) }
  process.execve(process.execPath, words, environment)
}
