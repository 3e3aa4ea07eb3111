/**
 * passt: user-mode networking in a process of its own, one per NIC, under a UID of its own. The host's loopback is not reachable from the
 * guest (`--no-map-gw`); forwards listen where the spec says. Measured: ready in 10 to 20 ms, in which QEMU comes up.
 */
import type { UserNicPlan } from '../../model/qemu/emulator-plan.ts'
import {
  helperError,
  type NetworkHelperRequest,
  ready,
  runHelper,
  type ServedNic,
  socketDescriptor,
} from './network-helper-process.ts'

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

/** Starts the passt at a path as the host's network is, or for the VM and its forwards alone where there is no way out of the host. */
export async function startPasst(
  passt: string,
  { plan, fd }: ServedNic,
  request: NetworkHelperRequest,
): Promise<void> {
  const argv = [passt, ...passtArgs(plan, request)]
  const outcome = await runHelper(argv, { ...request, fd })
  if (outcome.ended === ready) return
  if (!withoutRoute.test(outcome.said)) throw await helperError(plan, outcome, request)
  const again = await runHelper([...argv, ...localNetwork], { ...request, fd })
  if (again.ended !== ready) throw await helperError(plan, again, request)
}

function passtArgs(nic: UserNicPlan, { helperUid: uid }: NetworkHelperRequest): readonly string[] {
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
