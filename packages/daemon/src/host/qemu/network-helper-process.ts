/**
 * One process that serves a NIC in user mode: how it is started in the VM's cgroup, how it is known to be ready, and what is said of one
 * that is not. It has one end of a connected socket as descriptor 3, whose other end QEMU has: neither has a path that another process, or
 * a profile of AppArmor, could get in between. What it says later goes nowhere: a pipe that nobody reads any more would end it at its next word.
 */
import { spawn } from 'node:child_process'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import { listenerWords } from '../../model/network/port-claims.ts'
import type { UserNicPlan } from '../../model/qemu/emulator-plan.ts'
import { hostListeners } from '../networks/host-listeners.ts'

const startTimeoutMs = 5_000
const outputLimit = 8192
/** What it ends its start with when it serves. */
export const ready = 'ready'
/** The number of the socket in it. */
export const socketDescriptor = 3

/** A NIC to serve. */
export interface ServedNic {
  readonly plan: UserNicPlan
  /** Our descriptor of the helper's end of its socket, open until the helper is ready. */
  readonly fd: number
}

export interface NetworkHelperRequest {
  readonly cgroup: string
  /** The helpers' own UID. */
  readonly helperUid: number
  /** Directories besides /usr that a QEMU needs to run. */
  readonly trees: readonly string[]
  readonly nics: readonly ServedNic[]
  readonly signal: AbortSignal
  /** What follows from one that does not serve; `the VM was not started` where it is not said. */
  readonly otherwise?: string
}

/** How a start ended, and what was said on the way. */
export interface HelperOutcome {
  readonly ended: string
  readonly said: string
}

/** Resolves when the program serves, since what was started ends with 0 then and not before, or when it has ended otherwise. */
export async function runHelper(
  argv: readonly string[],
  request: Pick<NetworkHelperRequest, 'cgroup' | 'signal'> & Pick<ServedNic, 'fd'>,
): Promise<HelperOutcome> {
  const enterGroup = 'echo $$ > "$1/cgroup.procs" || exit 70; shift; exec "$@"'
  const child = spawn('/bin/sh', ['-c', enterGroup, 'kvasir-network', request.cgroup, ...argv], {
    detached: true,
    cwd: '/',
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', request.fd],
    timeout: startTimeoutMs,
    killSignal: 'SIGKILL',
    signal: request.signal,
  })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    if (said.length < outputLimit) said += chunk.toString('latin1')
  })
  const { promise, resolve } = Promise.withResolvers<string>()
  child.once('error', (error) => resolve(error.message))
  child.once('exit', (code) => code === 0 && resolve(ready))
  child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`)) // All that it said has arrived.
  const ended = await promise
  child.stderr?.destroy()
  request.signal.throwIfAborted()
  return { ended: ended === 'SIGKILL' ? 'it was not ready in time' : ended, said }
}

/** Of its words, those that were no hints on how to use it. */
const hint = /^(kvm|\.\/qrap|or qrap|You can now|Failed to send)|warning: hub/
const portTaken = /Address already in use|bind|Could not set up host forwarding rule/i

/** Why a NIC is not served: `in-use` where a port is taken, with who has it, else `host-failed`. */
export async function helperError(
  nic: UserNicPlan,
  { ended, said }: HelperOutcome,
  { otherwise = 'the VM was not started' }: Pick<NetworkHelperRequest, 'otherwise'>,
): Promise<KvasirError> {
  const lines = said
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !hint.test(line))
  const reason = [ended, ...lines.slice(-3)].join(': ')
  const inUse = portTaken.test(reason)
  const holder = inUse ? await holderOfPort(nic) : undefined
  const details = { nic: nic.nic }
  if (holder !== undefined)
    return new KvasirError(
      'in-use',
      `${holder}, so NIC ${nic.nic} cannot have that port, and ${otherwise}.`,
      { details },
    )
  return new KvasirError(
    inUse ? 'in-use' : 'host-failed',
    `The network of NIC ${nic.nic} cannot be served (${reason.slice(0, 400)}), so ${otherwise}.`,
    { details },
  )
}

/** Who listens where the NIC was to, of the programs that can be seen. */
async function holderOfPort({ forwards }: UserNicPlan): Promise<string | undefined> {
  const listeners = await hostListeners().catch(() => [])
  for (const { protocol, hostAddress: address, hostPort: port } of forwards) {
    const words = listenerWords({ protocol, address, port }, listeners)
    if (words !== undefined) return words
  }
  return undefined
}
