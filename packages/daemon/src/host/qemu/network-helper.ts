/**
 * passt: user-mode networking in a process of its own, one per NIC.
 *
 * It lives in the VM's cgroup, so that it ends with the VM, under a UID of its own, and makes its socket in a directory that is taken
 * away from it before QEMU connects: what QEMU reaches is what was checked. The host's loopback is not reachable from the guest
 * (`--no-map-gw`); forwards listen where the spec says. Measured: ready in 10 to 20 ms. What it says later goes nowhere: a pipe that
 * nobody reads any more would end it at its next word.
 */
import { spawn } from 'node:child_process'
import { chmod, chown, lchown, lstat, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { COMMAND_PATH } from '@kvasir/linux'
import type { UserNicPlan } from '../../model/qemu/emulator-plan.ts'

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

export interface NetworkHelperRequest {
  /** The directory of the sockets (`makeNetworkDirectory`). */
  readonly directory: string
  readonly cgroup: string
  /** QEMU's UID, which may connect. */
  readonly emulatorUid: number
  /** The helpers' own UID. */
  readonly helperUid: number
  readonly nics: readonly UserNicPlan[]
  readonly signal: AbortSignal
}

/** Makes the directory of the helpers' sockets, empty. */
export async function makeNetworkDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true })
  await mkdir(directory)
  // Not the mode of mkdir: the daemon's umask would keep QEMU out, whose NIC then stays silent without a word.
  await chmod(directory, 0o711)
}

/** Starts a helper for each NIC and waits until all of them listen. `in-use` or `host-failed` with what passt said. */
export async function startNetworkHelpers(request: NetworkHelperRequest): Promise<void> {
  const { directory, helperUid } = request
  if (request.nics.length === 0) return
  // passt of 2023 binds as its own UID; that of 2025 before, as root without the capability to write where it may not.
  await chown(directory, helperUid, 0)
  await chmod(directory, 0o731)
  await Promise.all(request.nics.map((nic) => startHelper(nic, request)))
  await chown(directory, 0, 0)
  await chmod(directory, 0o711)
  await Promise.all(request.nics.map((nic) => handOver(nic, request)))
}

/** Starts passt as the host's network is, or for the VM and its forwards alone where there is no way out of the host. */
async function startHelper(nic: UserNicPlan, request: NetworkHelperRequest): Promise<void> {
  const args = passtArgs(nic, request)
  const outcome = await runHelper(args, request)
  if (outcome.ended === ready) return
  if (!withoutRoute.test(outcome.said)) throw helperError(nic, outcome)
  const again = await runHelper([...args, ...localNetwork], request)
  if (again.ended !== ready) throw helperError(nic, again)
}

interface Outcome {
  readonly ended: string
  readonly said: string
}

/** Resolves when passt listens, since it goes into the background after that and not before, or when it has ended. */
async function runHelper(args: readonly string[], request: NetworkHelperRequest): Promise<Outcome> {
  const enterGroup = 'echo $$ > "$1/cgroup.procs" || exit 70; shift; exec passt "$@"'
  const child = spawn('/bin/sh', ['-c', enterGroup, 'kvasir-passt', request.cgroup, ...args], {
    detached: true,
    // It binds as its own UID, which cannot enter the directories above: the path is relative.
    cwd: request.directory,
    env: { PATH: COMMAND_PATH, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: startTimeoutMs,
    killSignal: 'SIGKILL',
    signal: request.signal,
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < outputLimit) said += chunk.toString('latin1')
  })
  const { promise, resolve } = Promise.withResolvers<string>()
  child.once('error', (error) => resolve(error.message))
  child.once('exit', (code) => code === 0 && resolve(ready))
  child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`)) // All that it said has arrived.
  const ended = await promise
  child.stderr.destroy()
  request.signal.throwIfAborted()
  return { ended: ended === 'SIGKILL' ? 'it did not listen in time' : ended, said }
}

function passtArgs(nic: UserNicPlan, request: NetworkHelperRequest): readonly string[] {
  const uid = request.helperUid
  const args = ['--quiet', '--one-off', '--no-map-gw', '--socket', nic.socketName, '--runas', `${uid}:${uid}`]
  for (const forward of nic.forwards) {
    const flag = forward.protocol === 'tcp' ? '--tcp-ports' : '--udp-ports'
    args.push(flag, `${forward.hostAddress}/${forward.hostPort}:${forward.guestPort}`)
  }
  if (!nic.forwards.some((forward) => forward.protocol === 'tcp')) args.push('--tcp-ports', 'none')
  if (!nic.forwards.some((forward) => forward.protocol === 'udp')) args.push('--udp-ports', 'none')
  return args
}

/** Gives a checked socket to QEMU. `lchown` and a file that only its owner could have made: no link is followed. */
async function handOver(nic: UserNicPlan, request: NetworkHelperRequest): Promise<void> {
  const socket = join(request.directory, nic.socketName)
  const entry = await lstat(socket)
  const isOfHelper = entry.uid === request.helperUid || entry.uid === 0
  if (!entry.isSocket() || !isOfHelper || entry.nlink !== 1)
    throw helperError(nic, { ended: 'its socket was replaced', said: '' })
  await lchown(socket, request.emulatorUid, request.emulatorUid)
  await chmod(socket, 0o600)
}

function helperError(nic: UserNicPlan, { ended, said }: Outcome): KvasirError {
  const lines = said
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('Failed to send'))
  const complaints = lines.filter(
    (line) => !/^(kvm|\.\/qrap|or qrap|You can now|UNIX domain socket bound)/.test(line),
  )
  const reason = [ended, ...complaints.slice(-3)].join(': ')
  const inUse = /Address already in use|bind/i.test(reason)
  return new KvasirError(
    inUse ? 'in-use' : 'host-failed',
    `The network of NIC ${nic.nic} cannot be served (${reason.slice(0, 400)}), so the VM was not started.`,
    { details: { nic: nic.nic } },
  )
}
