/** Addresses that NICs are always given: which they may have, and which one a NIC gets that needs one and names none. */
import { KvasirError, type Lease, type NicSpec } from '@kvasir/contract'
import { formatAddress, isHost, parseAddress, parseSubnet } from './address.ts'
import type { NetworkSpec } from './network-record.ts'

/** A NIC on a network, and the VM that has it. */
export interface NicOnNetwork {
  readonly vm: string
  readonly nic: NicSpec
  readonly mac: string
  readonly network: NetworkSpec
}

/** An address that somebody has, in a word for him. */
export interface AddressHolder {
  readonly address: string
  readonly holder: string
}

/** Whether a NIC needs an address that stays. */
export function needsAddress({ forwards, antiSpoof }: NicSpec, { ipv4 }: NetworkSpec): boolean {
  return forwards.length > 0 || (antiSpoof && ipv4 !== undefined)
}

/** Refuses a NIC that asks for what its network has not, or for an address that is none of it or somebody else's: `bad-request`, `in-use`. */
export function requireOnNetwork(on: NicOnNetwork, held: readonly AddressHolder[]): void {
  const { nic, mac, network } = on
  const { ipv4, mode, name } = network
  if (nic.forwards.length > 0) {
    if (mode !== 'nat' || !ipv4)
      throw refused(on, `has forwards, which networks of mode nat with IPv4 have, and ${name} is none`)
    const other = nic.forwards.find(({ hostAddress }) => hostAddress.includes(':'))
    if (other) throw refused(on, `forwards from ${other.hostAddress}, and networks forward IPv4 alone`)
  }
  if (network.sriov) requireOnVf(on)
  if (!network.sriov && network.vlans === undefined && (nic.vlan ?? nic.trunk) !== undefined)
    throw refused(
      on,
      `has VLANs, and network ${name} does not tell them apart; one of mode bridge that is VLAN-aware does, and one of mode sriov`,
    )
  if (nic.mtu !== undefined && nic.mtu > network.mtu)
    throw refused(
      on,
      `has an MTU of ${nic.mtu}, and packets of network ${name} have ${network.mtu} bytes at most`,
    )
  if (nic.isolated && (network.macvtap === 'bridge' || network.macvtap === 'vepa'))
    throw refused(
      on,
      `is isolated, and the guests of network ${name} reach each other (macvtap ${network.macvtap}); those of one with the mode private do not`,
    )
  if (nic.address === undefined && needsAddress(nic, network))
    throw refused(on, `needs an address, and network ${name} gives none by DHCP; say which`)
  const own = network.reservations.find((reservation) => reservation.mac === mac)
  requireAddress(on, { address: nic.address, family: ipv4, reservedForIt: own?.address, held })
  requireAddress(on, { address: nic.ipv6, family: network.ipv6, reservedForIt: own?.ipv6, held })
}

/** On a LAN of the host: no address that means many, none, the host itself, or a link. */
const isGuests = /^(?!0|127\.|2[2-5]\d\.|::|f[ef])/

/** An address that it names is a guest's on its network, and nobody else's. */
function requireAddress(
  on: NicOnNetwork,
  said: {
    readonly address: string | undefined
    readonly family: { readonly subnet: string; readonly gateway: string } | undefined
    readonly reservedForIt: string | undefined
    readonly held: readonly AddressHolder[]
  },
): void {
  const { address, family, reservedForIt, held } = said
  if (address === undefined) return
  const { nic, vm } = on
  const { name, mode } = on.network
  const [parsed, subnet] = [parseAddress(address), family && parseSubnet(family.subnet)]
  const isOnLan = (mode === 'macvtap' || mode === 'bridge') && isGuests.test(address) // Its guard holds it to that.
  if (
    !isOnLan &&
    (!parsed || !subnet || !isHost(parsed, subnet) || formatAddress(parsed) === family?.gateway)
  )
    throw refused(
      on,
      `has the address ${address}, which is no guest's on network ${name}${family ? ` (${family.subnet})` : ''}`,
    )
  if (reservedForIt !== undefined && reservedForIt !== address)
    throw refused(on, `has the address ${address}, and network ${name} reserves ${reservedForIt} for it`)
  const holder = [...reserved(on), ...held].find((other) => other.address === address)?.holder
  if (holder === undefined) return
  throw new KvasirError(
    'in-use',
    `${holder} has the address ${address} on network ${name}, so NIC ${nic.name} of VM ${vm} cannot have it.`,
    { details: { address, network: name, holder } },
  )
}

/** A virtual function is held to its MAC address and to a rate by the device; all else would be rules of a bridge, and there is none. */
function requireOnVf(on: NicOnNetwork): void {
  const { antiSpoof, isolated, address, ipv6, limits, model, trunk, queues, mtu, offloads } = on.nic
  const { name } = on.network
  if (model !== undefined && model !== 'virtio')
    throw refused(
      on,
      `is to be a card of the model ${model}, and network ${name} gives it a virtual function, which is its own model`,
    )
  if (antiSpoof || isolated)
    throw refused(
      on,
      `is guarded (${antiSpoof ? 'antiSpoof' : 'isolated'}), and network ${name} gives it a virtual function, whose packets the host never sees; spoofCheck of the network holds it to its MAC address`,
    )
  if (trunk !== undefined)
    throw refused(
      on,
      `has a trunk, and a virtual function, as network ${name} gives it, is in one VLAN or none`,
    )
  if ((queues ?? mtu ?? offloads) !== undefined)
    throw refused(
      on,
      `has queues, an MTU or offloads, and network ${name} gives it a virtual function, of which its guest says that itself`,
    )
  if ((address ?? ipv6) !== undefined)
    throw refused(on, `has an address, and who has which on network ${name} is the LAN's to say`)
  if (limits?.receive !== undefined)
    throw refused(
      on,
      `limits what it receives, and a virtual function, as network ${name} gives it, limits what is sent alone`,
    )
}

/**
 * The address for a NIC that needs one: what its network reserves for it, what it was given before, or one that nobody has, which follows
 * from the MAC address so that two that look at the same time seldom find the same. Undefined where DHCP gives none.
 */
export function pickAddress(
  on: NicOnNetwork,
  { held, leases }: { readonly held: readonly AddressHolder[]; readonly leases: readonly Lease[] },
): string | undefined {
  const { mac, network, vm, nic } = on
  const own = network.reservations.find((reservation) => reservation.mac === mac)?.address
  if (own !== undefined) return own
  const dhcp = network.ipv4?.dhcp
  const [first, last] = [parseAddress(dhcp?.first ?? ''), parseAddress(dhcp?.last ?? '')]
  if (!first || !last) return undefined
  const taken = new Set([...reserved(on), ...held].map(({ address }) => address))
  const former = leases.find((lease) => lease.mac === mac && !lease.address.includes(':'))?.address
  if (former !== undefined && !taken.has(former)) return former
  for (const lease of leases) taken.add(lease.address)
  const count = last.value - first.value + 1n
  const begin = BigInt(`0x${mac.replaceAll(':', '')}`) % count
  for (let step = 0n; step < count && step <= BigInt(taken.size); step++) {
    const address = formatAddress({ family: 4, value: first.value + ((begin + step) % count) })
    if (!taken.has(address)) return address
  }
  throw new KvasirError(
    'in-use',
    `Every address that network ${network.name} gives is taken, so there is none for NIC ${nic.name} of VM ${vm}.`,
    { details: { network: network.name } },
  )
}

/** The addresses that are said of a NIC, or reserved for one. */
export function addressesOf({
  address,
  ipv6,
}: {
  readonly address?: string | undefined
  readonly ipv6?: string | undefined
}): readonly string[] {
  return [address, ipv6].filter((one) => one !== undefined)
}

/** What the network keeps for other NICs. */
function reserved({ network, mac }: NicOnNetwork): readonly AddressHolder[] {
  return network.reservations.flatMap((other) =>
    other.mac === mac
      ? []
      : addressesOf(other).map((address) => ({
          address,
          holder: `The NIC with the MAC address ${other.mac}`,
        })),
  )
}

function refused({ vm, nic, network }: NicOnNetwork, why: string): KvasirError {
  return new KvasirError('bad-request', `NIC ${nic.name} of VM ${vm} ${why}, so it cannot be there.`, {
    details: { nic: nic.name, network: network.name },
  })
}
