/** The command line as a person runs it: the launcher of the checkout, against the daemon of a place. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { patient } from './patience.ts'
import { environmentOf, type Place } from './place.ts'

const launcher = join(import.meta.dirname, '../../kvasir')
const cliMs = 120_000

/** What a run of the command line printed, and its exit code. */
export interface CliRun {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `kvasir` with arguments and, if any, text on its stdin. */
export async function runCli(
  place: Place,
  argv: readonly string[],
  options: { readonly input?: string; readonly environment?: Readonly<Record<string, string>> } = {},
): Promise<CliRun> {
  const child = startCli(place, argv, options)
  child.stdin.end(options.input ?? '')
  const ended = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  await ended
  return { code: child.exitCode, stdout, stderr }
}

/** Starts `kvasir`, for whoever speaks with it while it runs; one that does not end is killed after a while. */
export function startCli(
  place: Place,
  argv: readonly string[],
  options: { readonly environment?: Readonly<Record<string, string>> } = {},
): ChildProcessWithoutNullStreams {
  const child = spawn(launcher, [...argv], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: patient(cliMs),
    killSignal: 'SIGKILL', // It takes SIGTERM for a wish, and one that hangs hears none.
    env: { ...process.env, ...environmentOf(place), NO_COLOR: '1', ...options.environment },
  })
  child.stdin.on('error', () => {}) // It may end without reading.
  return child
}
