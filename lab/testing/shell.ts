/** Shell command lines of a suite, on the lab itself. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { runCommand } from '@kvasir/linux'

const commandTimeoutMs = 120_000

/** What a command line printed, without the last line's end. Throws with its stderr when it does not end with 0. */
export async function sh(command: string): Promise<string> {
  const { stdout } = await runCommand(['/bin/sh', '-c', command], { timeoutMs: commandTimeoutMs })
  return stdout.trimEnd()
}

/** Starts a command line that goes on; resolves once it has printed something. */
export async function shLater(command: string): Promise<{ readonly end: () => void }> {
  const child = spawn('/bin/sh', ['-c', `exec ${command}`], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit').then(() => {
    throw new Error(`${command} ended before it printed anything.`)
  })
  ended.catch(() => {}) // It ends after that.
  await Promise.race([once(child.stdout, 'data'), ended])
  return { end: () => child.kill('SIGKILL') }
}
