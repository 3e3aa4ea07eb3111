/**
 * Who serves a NIC in user mode, and QEMU's own stack (slirp) as that: a second QEMU without a machine, which carries frames between slirp
 * and the NIC's socket and does nothing else. So the emulator, with the guest in it, stays without a network.
 *
 * What slirp is given is as near to passt as it can: the guest has 10.0.2.15 and the name server 10.0.2.3, both by DHCP, IPv4 alone, and
 * its gateway is nobody that it reaches (host/qemu/slirp-helper.pl).
 */
import { KvasirError } from '@kvasir/contract'
import type { EmulatorPlan, UserNicPlan, UserServer } from './emulator-plan.ts'
import { sandboxArgs } from './sandbox.ts'

/** Ports below this are root's (ip(7)). */
const firstFreePort = 1024
const guestNetwork = '10.0.2.0/24'

/** passt where it is there, since it is faster and speaks IPv6. */
export function chooseUserServer({ passt }: { readonly passt: string | undefined }): UserServer {
  return passt === undefined
    ? { kind: 'slirp', reason: 'passt is not installed' }
    : { kind: 'passt', reason: `${passt} is there` }
}

/** What is written down of an emulator, with who serves those of its NICs that are in user mode. */
export function withUserServer(
  ids: EmulatorPlan['ids'],
  { userNics, server }: { readonly userNics: readonly UserNicPlan[]; readonly server: UserServer },
): EmulatorPlan['ids'] {
  const nics = Object.entries(ids.nics).map(
    ([nic, one]) =>
      [nic, userNics.some((each) => each.nic === nic) ? { ...one, user: server } : one] as const,
  )
  return { ...ids, nics: Object.fromEntries(nics) }
}

/** The arguments of the QEMU that carries frames; `fd` is its end of the socket. `unsupported` for a forward that slirp does not have. */
export function slirpArgs(
  { nic, forwards }: UserNicPlan,
  { fd, otherwise }: { readonly fd: string; readonly otherwise: string },
): readonly string[] {
  const other = forwards.find(({ hostAddress }) => hostAddress.includes(':'))
  if (other)
    throw new KvasirError(
      'unsupported',
      `NIC ${nic} forwards from ${other.hostAddress}, and passt is not installed; QEMU's own stack (slirp), which serves it then, forwards IPv4 alone, so ${otherwise}. Install the package passt, or forward from an address of IPv4.`,
      { details: { nic } },
    )
  const words = forwards.map(
    ({ protocol, hostAddress, hostPort, guestPort }) =>
      `hostfwd=${protocol}:${hostAddress}:${hostPort}-:${guestPort}`,
  )
  return [
    '-no-user-config',
    '-nodefaults',
    '-display',
    'none',
    '-machine',
    'none',
    '-accel',
    'tcg,tb-size=1',
    ...sandboxArgs(),
    '-netdev',
    ['user', 'id=user', `net=${guestNetwork}`, 'ipv6=off', ...words].join(),
    '-netdev',
    'hubport,id=port0,hubid=0,netdev=user',
    '-netdev',
    `stream,id=guest,server=off,addr.type=fd,addr.str=${fd}`,
    '-netdev',
    'hubport,id=port1,hubid=0,netdev=guest',
  ]
}

/** Whether a forward takes a port of root's. */
export function bindsLowPort({ forwards }: Pick<UserNicPlan, 'forwards'>): boolean {
  return forwards.some(({ hostPort }) => hostPort < firstFreePort)
}
