/** What a network reserves for NICs: checked against its subnets, and against each other. */
import type { Reservation } from '@kvasir/contract'
import { formatAddress, isHost, parseAddress, parseSubnet } from './address.ts'
import type { NetworkIpv4, NetworkIpv6 } from './network-record.ts'
import { refused } from './network-refused.ts'

/** The reservations as they are kept. `network-refused` for what is reserved twice, or is no address for a guest. */
export function resolveReservations(
  name: string,
  wanted: readonly Reservation[],
  { ipv4, ipv6 }: { readonly ipv4: NetworkIpv4 | undefined; readonly ipv6: NetworkIpv6 | undefined },
): Reservation[] {
  const reservations = wanted.map(inOneForm)
  const seen = new Set<string>()
  for (const { mac, address, ipv6: address6, name: label } of reservations) {
    for (const [kind, word] of [
      ['MAC address', mac],
      ['address', address],
      ['address', address6],
      ['name', label],
    ] as const) {
      if (word === undefined) continue
      if (seen.has(`${kind} ${word}`)) throw refused(name, `it reserves the ${kind} ${word} twice`)
      seen.add(`${kind} ${word}`)
    }
    if (address !== undefined) requireGuest(name, address, { family: ipv4, version: 'IPv4' })
    if (address6 !== undefined) requireGuest(name, address6, { family: ipv6, version: 'IPv6' })
  }
  return reservations
}

/** One address of IPv6 may be written in many ways. */
function inOneForm({ ipv6, ...rest }: Reservation): Reservation {
  const address = ipv6 === undefined ? undefined : parseAddress(ipv6)
  return ipv6 === undefined ? rest : { ...rest, ipv6: address ? formatAddress(address) : ipv6 }
}

function requireGuest(
  name: string,
  address: string,
  { family, version }: { readonly family: NetworkIpv4 | NetworkIpv6 | undefined; readonly version: string },
): void {
  if (!family?.dhcp) throw refused(name, `it reserves ${address} and has no DHCP of ${version}`)
  const [parsed, subnet] = [parseAddress(address), parseSubnet(family.subnet)]
  if (!parsed || !subnet || !isHost(parsed, subnet) || formatAddress(parsed) === family.gateway)
    throw refused(name, `it reserves ${address}, which is no address for a guest in ${family.subnet}`)
}
