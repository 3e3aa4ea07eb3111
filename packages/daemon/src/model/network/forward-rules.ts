/**
 * The rules by which ports of the host lead to guests of a nat network (nft(8)).
 *
 *     from outside       prerouting turns the packet to the guest, which sees who calls
 *     from the host      output does; a caller at 127.0.0.1 gets the address of the bridge, since the guest could not answer that one
 *     from other guests  prerouting does; callers of the same network get the address of the bridge, or the answer would come past it
 *
 * A packet to 127.0.0.0/8 that comes by the bridge is dropped before all else: routing of such addresses is on there (route_localnet
 * of the kernel's ip-sysctl.rst), and without that rule guests would reach what listens on the host's loopback.
 */
import type { ForwardSpec } from '@kvasir/contract'
import type { NetworkSpec } from './network-record.ts'
import type { Wire } from './wires.ts'

const everywhere = '0.0.0.0'

interface Forward extends ForwardSpec {
  readonly guest: string
}

/** The forwards of a network, with the guests that they lead to. */
function forwardsOf(wires: readonly Wire[]): readonly Forward[] {
  return wires.flatMap(({ address, forwards }) =>
    address === undefined ? [] : forwards.map((forward) => ({ ...forward, guest: address })),
  )
}

/** Whether a packet from the host's loopback may have to leave by the bridge. */
export function routesLoopback(wires: readonly Wire[]): boolean {
  return forwardsOf(wires).some(({ hostAddress }) => hostAddress === everywhere || isLoopback(hostAddress))
}

/** What comes from outside and from guests is turned to guests. */
export function preroutingRules(wires: readonly Wire[]): readonly string[] {
  return forwardsOf(wires)
    .filter(({ hostAddress }) => !isLoopback(hostAddress))
    .map(turn)
}

/** What comes from the host itself is. */
export function outputRules(wires: readonly Wire[]): readonly string[] {
  return forwardsOf(wires).map(turn)
}

/** Callers that a guest could not answer, or not by this way, get the address of the bridge. */
export function hairpinRules({ bridge, ipv4 }: NetworkSpec, wires: readonly Wire[]): readonly string[] {
  if (!ipv4 || forwardsOf(wires).length === 0) return []
  const into = `oifname "${bridge}"`
  return [
    `${into} ip saddr 127.0.0.0/8 masquerade`,
    `${into} ip saddr ${ipv4.subnet} ct status dnat masquerade`,
  ]
}

/** What was turned to a guest gets in. */
export function admittedRules({ bridge }: NetworkSpec, wires: readonly Wire[]): readonly string[] {
  return forwardsOf(wires).map(
    ({ guest, protocol, guestPort }) =>
      `oifname "${bridge}" ip daddr ${guest} ${protocol} dport ${guestPort} ct status dnat accept`,
  )
}

/** Nobody reaches the host's loopback by the bridge. */
export function loopbackRules({ bridge }: NetworkSpec): readonly string[] {
  return [`iifname "${bridge}" ip daddr 127.0.0.0/8 drop`]
}

function turn({ protocol, hostAddress, hostPort, guest, guestPort }: Forward): string {
  const at = hostAddress === everywhere ? 'meta nfproto ipv4 fib daddr type local' : `ip daddr ${hostAddress}`
  return `${at} ${protocol} dport ${hostPort} dnat ip to ${guest}:${guestPort}`
}

function isLoopback(address: string): boolean {
  return address.startsWith('127.')
}
