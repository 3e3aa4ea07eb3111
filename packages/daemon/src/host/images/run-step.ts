/**
 * Runs one command of a build: in its own directory, with the caller's time-out and signal, and with the host's proxy settings, which
 * apt takes from the environment.
 */
import { runCommand } from '@kvasir/linux'

const proxyVariables = ['http_proxy', 'https_proxy', 'ftp_proxy', 'no_proxy', 'HTTPS_PROXY', 'NO_PROXY']

/** Where and how long a step may run. */
export interface StepOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a command and gives what it printed. Throws `CommandError`. */
export async function runStep(argv: readonly string[], options: StepOptions): Promise<string> {
  const proxies = proxyVariables.flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  const env = { ...Object.fromEntries(proxies), DEBIAN_FRONTEND: 'noninteractive', ...options.env }
  return (await runCommand(argv, { ...options, env, endsWithUs: true })).stdout
}
