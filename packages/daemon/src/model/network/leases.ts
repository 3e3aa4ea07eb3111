/** The leases that dnsmasq keeps in a file: one a line, those of DHCPv6 after a line that begins with `duid`. */
import type { Lease } from '@kvasir/contract'
import { formatAddress, parseAddress } from './address.ts'

const macPattern = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/

/** The leases that are good at a moment (milliseconds since 1970). Lines that are none are left out. */
export function parseLeases(text: string, nowMs: number): readonly Lease[] {
  let isVersion6 = false
  const leases: Lease[] = []
  for (const line of text.split('\n')) {
    if (line.startsWith('duid ')) {
      isVersion6 = true
      continue
    }
    const lease = parseLine(line, { isVersion6, nowMs })
    if (lease) leases.push(lease)
  }
  return leases
}

function parseLine(
  line: string,
  { isVersion6, nowMs }: { readonly isVersion6: boolean; readonly nowMs: number },
): Lease | undefined {
  const [expiry, mac = '', text, name, client] = line.split(' ')
  const address = text === undefined ? undefined : parseAddress(text)
  const seconds = Number(expiry)
  if (!address || !Number.isSafeInteger(seconds) || seconds < 0) return undefined
  if (seconds !== 0 && seconds * 1000 <= nowMs) return undefined
  const macOf = isVersion6 ? macOfDuid(client ?? '') : mac
  return {
    address: formatAddress(address),
    ...(macPattern.test(macOf) ? { mac: macOf } : {}),
    ...(name === undefined || name === '*' ? {} : { name }),
    ...(client === undefined || client === '*' ? {} : { client }),
    ...(seconds === 0 ? {} : { expiresAt: new Date(seconds * 1000).toISOString() }),
  }
}

/** A DUID made of a link's address ends with it (RFC 8415, 11.2 and 11.4): `00:01:00:01`, a time, the MAC; or `00:03:00:01`, the MAC. */
function macOfDuid(duid: string): string {
  const bytes = duid.split(':')
  const kind = bytes.slice(0, 4).join(':')
  if (kind === '00:01:00:01' && bytes.length === 14) return bytes.slice(8).join(':')
  return kind === '00:03:00:01' && bytes.length === 10 ? bytes.slice(4).join(':') : ''
}
