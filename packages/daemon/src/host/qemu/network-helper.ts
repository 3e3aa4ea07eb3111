/**
 * passt: user-mode networking in a process of its own, one per NIC.
 *
 * It lives in the VM's cgroup, so that it ends with the VM, under a UID of its own. It is given one end of a connected socket, whose
 * other end QEMU has: neither has a path that another process, or a profile of AppArmor, could get in between. The host's loopback is
 * not reachable from the guest (`--no-map-gw`); forwards listen where the spec says. Measured: ready in 10 to 20 ms, in which QEMU
 * comes up. What it says later goes nowhere: a pipe that nobody reads any more would end it at its next word.
 */
import { spawn } from 'node:child_process'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import { listenerWords } from '../../model/network/port-claims.ts'
import type { UserNicPlan } from '../../model/qemu/emulator-plan.ts'
import { hostListeners } from '../networks/host-listeners.ts'

const startTimeoutMs = 5_000
const outputLimit = 8192
/** What passt says on a host without a default route: of 2023, before it had a mode of its own for that. */
const withoutRoute = /No external routable interface|External interface not usable/
/** A network of the VM and the host's forwards: passt wants an interface to be like, and addresses that it would have taken from it. */
const localNetwork = [
  '--ipv4-only',
  '--interface=lo',
  '--address=10.0.2.15',
  '--netmask=24',
  '--gateway=10.0.2.2',
  '--mac-addr=52:56:00:00:00:02',
  '--dns=none',
] as const
const ready = 'ready'
/** The number of the socket in passt. */
const socketDescriptor = 3

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
  readonly nics: readonly ServedNic[]
  readonly signal: AbortSignal
  /** What follows from one that does not serve; `the VM was not started` where it is not said. */
  readonly otherwise?: string
}

/** Starts a helper for each NIC and waits until all of them serve. `in-use` or `host-failed` with what passt said. */
export async function startNetworkHelpers(request: NetworkHelperRequest): Promise<void> {
  await Promise.all(request.nics.map((nic) => startHelper(nic, request)))
}

/** Starts passt as the host's network is, or for the VM and its forwards alone where there is no way out of the host. */
async function startHelper(nic: ServedNic, request: NetworkHelperRequest): Promise<void> {
  const args = passtArgs(nic.plan, request)
  const outcome = await runHelper(args, { ...request, fd: nic.fd })
  if (outcome.ended === ready) return
  if (!withoutRoute.test(outcome.said)) throw helperError(nic.plan, outcome, request)
  const again = await runHelper([...args, ...localNetwork], { ...request, fd: nic.fd })
  if (again.ended !== ready) throw await helperError(nic.plan, again, request)
}

/** What a shell says of a program that is not there, or cannot be run (sh(1), Exit Status). */
const noProgram = /^exit code 12[67]$/

interface Outcome {
  readonly ended: string
  readonly said: string
}

/** Resolves when passt serves, since it goes into the background after that and not before, or when it has ended. */
async function runHelper(
  args: readonly string[],
  request: NetworkHelperRequest & { readonly fd: number },
): Promise<Outcome> {
  const enterGroup = 'echo $$ > "$1/cgroup.procs" || exit 70; shift; exec passt "$@"'
  const child = spawn('/bin/sh', ['-c', enterGroup, 'kvasir-passt', request.cgroup, ...args], {
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

function passtArgs(nic: UserNicPlan, request: NetworkHelperRequest): readonly string[] {
  const uid = request.helperUid
  const socket = ['--fd', String(socketDescriptor)] // It ends with this connection.
  const args = ['--quiet', '--no-map-gw', ...socket, '--runas', `${uid}:${uid}`]
  for (const forward of nic.forwards) {
    const flag = forward.protocol === 'tcp' ? '--tcp-ports' : '--udp-ports'
    args.push(flag, `${forward.hostAddress}/${forward.hostPort}:${forward.guestPort}`)
  }
  if (!nic.forwards.some((forward) => forward.protocol === 'tcp')) args.push('--tcp-ports', 'none')
  if (!nic.forwards.some((forward) => forward.protocol === 'udp')) args.push('--udp-ports', 'none')
  return args
}

async function helperError(
  nic: UserNicPlan,
  { ended, said }: Outcome,
  { otherwise = 'the VM was not started' }: NetworkHelperRequest,
): Promise<KvasirError> {
  if (noProgram.test(ended))
    return new KvasirError(
      'unsupported',
      `passt is not installed, which serves NIC ${nic.nic} in user mode, so ${otherwise}; install the package passt, or put the NIC on a network.`,
      { details: { nic: nic.nic } },
    )
  const lines = said
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('Failed to send'))
  const complaints = lines.filter((line) => !/^(kvm|\.\/qrap|or qrap|You can now)/.test(line))
  const reason = [ended, ...complaints.slice(-3)].join(': ')
  const inUse = /Address already in use|bind/i.test(reason)
  const holder = inUse ? await holderOfPort(nic) : undefined
  if (holder !== undefined)
    return new KvasirError(
      'in-use',
      `${holder}, so NIC ${nic.nic} cannot have that port, and ${otherwise}.`,
      { details: { nic: nic.nic } },
    )
  return new KvasirError(
    inUse ? 'in-use' : 'host-failed',
    `The network of NIC ${nic.nic} cannot be served (${reason.slice(0, 400)}), so ${otherwise}.`,
    { details: { nic: nic.nic } },
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
