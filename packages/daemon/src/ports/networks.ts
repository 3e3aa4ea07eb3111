/** Networks on the host: bridges, rules, DHCP and DNS. What is made of a network bears names that follow from its id. */
import type { Lease, NetworkFinding } from '@kvasir/contract'
import type { GuestNic } from '../model/network/dnsmasq-conf.ts'
import type { HostFilters } from '../model/network/host-filters.ts'
import type { HostNetwork } from '../model/network/host-network.ts'
import type { NetworkSpec } from '../model/network/network-record.ts'
import type { HostListener } from '../model/network/port-claims.ts'
import type { RuleCounts } from '../model/network/rule-counts.ts'
import type { HostPf } from '../model/network/vf-pool.ts'
import type { Wire } from '../model/network/wires.ts'

/** What is seen of a network on the host. */
export interface NetworkSight {
  /** What is missing, or not as it was made. */
  readonly findings: readonly NetworkFinding[]
  /** What is amiss and does not change by raising it again; absent where it was not looked for. */
  readonly lasting?: readonly NetworkFinding[] | undefined
  readonly dnsmasqPid: number | undefined
  /** Of a network of mode sriov: its physical functions. */
  readonly pools?: readonly PoolSight[] | undefined
  /** The links by which its packets leave the host; undefined where this look was none at them. */
  readonly uplinks?: readonly string[] | undefined
  /** Whom the host has spoken with on it; undefined where this look was none at them. */
  readonly neighbours?: readonly Neighbour[] | undefined
  /** What its rules have dropped; undefined where this look was none at them. */
  readonly ruleCounts?: RuleCounts | undefined
}

/** An address that somebody on a network answers for, by ARP or neighbour discovery. */
export interface Neighbour {
  readonly mac: string
  readonly address: string
}

/** A physical function of a network, and how many virtual functions of it were made for networks. */
export interface PoolSight extends Omit<HostPf, 'address'> {
  readonly address: string | undefined
  readonly made: number | undefined
}

/** The parts of a network that are made one after another, in this order; each is told of when it is there. */
export type NetworkPart = 'rules' | 'journal' | 'uplink' | 'bridge' | 'forwarding' | 'dnsmasq'

export interface RaiseOptions {
  /** The NICs of VMs on it, with the names that DNS is to know them by. */
  readonly guests: readonly GuestNic[]
  /** The NICs of VMs that run on it, or are being started: their taps are ports of its bridge, also of one that is made again. */
  readonly wires: readonly Wire[]
  readonly onPart?: (part: NetworkPart) => Promise<void>
}

export interface LowerOptions {
  /** Told when what was the uplink's is the uplink's again, and its bridge is still there. */
  readonly onUplinkBack?: () => Promise<void>
}

export interface Networks {
  /** Links, addresses and routes of the host as they are now. */
  survey(): Promise<HostNetwork>
  /** The sockets of the host that wait for callers. */
  listeners(): Promise<readonly HostListener[]>
  /** The rules of all firewalls of the host, as they are now. */
  filters(): Promise<HostFilters>
  /**
   * Makes what is missing of a network, and leaves the rest as it is. On failure, what this call made is gone again. `network-refused` when
   * something of its names is there that is not its; `unsupported` when a program or the kernel lacks what it takes.
   */
  raise(network: NetworkSpec, options: RaiseOptions): Promise<void>
  /** Puts the rules for these wires in the place of those that there are, of a network that is there and whole: what a start waits for. */
  rewire(network: NetworkSpec, wires: readonly Wire[]): Promise<void>
  /** Takes away all of a network and nothing else. Safe to repeat. */
  lower(network: NetworkSpec, options?: LowerOptions): Promise<void>
  /** Looks at a network that was raised with these wires. `deep`: at its rules, addresses and ports too, which takes processes. */
  inspect(
    network: NetworkSpec,
    options: { readonly deep: boolean; readonly wires: readonly Wire[] },
  ): Promise<NetworkSight>
  leases(network: NetworkSpec): Promise<readonly Lease[]>
  /** Forgets the leases of a network. */
  forget(networkId: string): Promise<void>
  /** The ids of networks of which something may be on the host. */
  present(): Promise<readonly string[]>
}
