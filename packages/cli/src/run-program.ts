/** Another program in the foreground, with this terminal: ssh, an editor. */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { KvasirError } from '@kvasir/contract/error-table'

/** Runs a program to its end and gives its exit code. Ctrl-C goes to the program, not to this one. */
export async function runProgram(program: string, words: readonly string[]): Promise<number> {
  const ignore = (): void => {}
  const others = process.listeners('SIGINT')
  process.removeAllListeners('SIGINT')
  process.on('SIGINT', ignore)
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  try {
    const child = spawn(program, words, { stdio: 'inherit' })
    child.on('error', (cause) => {
      reject(new KvasirError('host-failed', `Program ${program} cannot be run: is it installed?`, { cause }))
    })
    child.on('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    )
    return await promise
  } finally {
    process.removeListener('SIGINT', ignore)
    for (const listener of others) process.on('SIGINT', listener)
  }
}
