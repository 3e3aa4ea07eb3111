/** The programs that networks are made with, `ip` and `nft`: one way to call each, and what their failures mean to a caller. */
import { KvasirError } from '@kvasir/contract'
import { CommandError, type CommandOptions, runCommand, runJsonCommand } from '@kvasir/linux'
import type { RuleFamily } from '../../model/network/rule-set.ts'

const timeoutMs = 10_000
const packages = { ip: 'iproute2', bridge: 'iproute2', nft: 'nftables', dnsmasq: 'dnsmasq-base' } as const
type Program = keyof typeof packages

/** Runs a program for a network. `unsupported` when it is missing, `host-failed` with its words when it did not do it. */
export async function runNetworkCommand(
  argv: readonly [Program, ...string[]],
  options: Partial<CommandOptions> & { readonly purpose: string },
): Promise<string> {
  const { purpose, ...rest } = options
  try {
    const { stdout } = await runCommand(argv, { timeoutMs, ...rest })
    return stdout
  } catch (error) {
    throw networkError(argv[0], { purpose, error })
  }
}

/** Several commands of ip(8) as one process, so that nothing that ends the daemon comes between them. */
export async function runIpBatch(lines: readonly string[], purpose: string): Promise<void> {
  await runNetworkCommand(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n`, purpose })
}

/** The same of bridge(8). */
export async function runBridgeBatch(lines: readonly string[], purpose: string): Promise<void> {
  await runNetworkCommand(['bridge', '-batch', '-'], { input: `${lines.join('\n')}\n`, purpose })
}

/** What ip(8) says in JSON. */
export function askIp(args: readonly string[]): Promise<unknown> {
  return ask('ip', args)
}

/** What bridge(8) says in JSON. */
export function askBridge(args: readonly string[]): Promise<unknown> {
  return ask('bridge', args)
}

async function ask(program: 'ip' | 'bridge', args: readonly string[]): Promise<unknown> {
  try {
    return (await runJsonCommand([program, '-json', ...args], { timeoutMs })) ?? []
  } catch (error) {
    throw networkError(program, { purpose: 'the networks of the host cannot be looked at', error })
  }
}

/** Puts rules in place, all of a text or none. */
export async function applyRules(text: string, purpose: string): Promise<void> {
  await runNetworkCommand(['nft', '-f', '-'], { input: text, purpose })
}

/** A table as nft(8) prints it, with what its rules have counted; undefined when there is none, or none of its family. */
export async function readTable(family: RuleFamily, name: string): Promise<string | undefined> {
  try {
    const argv = ['nft', 'list', 'table', family, name]
    return (await runCommand(argv, { timeoutMs })).stdout
  } catch (error) {
    const isNone = /No such file|not supported/
    if (error instanceof CommandError && error.failure === 'exit' && isNone.test(error.stderr))
      return undefined
    throw networkError('nft', { purpose: 'the rules of the host cannot be looked at', error })
  }
}

function networkError(
  program: Program,
  { purpose, error }: { readonly purpose: string; readonly error: unknown },
): unknown {
  if (!(error instanceof CommandError)) return error
  if (error.failure === 'missing')
    return new KvasirError(
      'unsupported',
      `${program} of the package ${packages[program]} is not installed, so ${purpose}.`,
      { details: { program }, cause: error },
    )
  const lines = error.stderr.trim().split('\n')
  // Of a batch, ip(8) says in which line of its stdin it failed, which nobody else has seen.
  const words = lines.filter((line) => !/^Command failed -:\d+$/.test(line.trim()))
  const said = words.slice(0, 3).join('; ').slice(0, 400)
  const why = error.failure === 'exit' ? said || `exit code ${error.exitCode}` : error.message
  return new KvasirError('host-failed', `${program} did not do it (${why}), so ${purpose}.`, {
    details: { program },
    cause: error,
  })
}
