/**
 * The DNS records of a network as dnsmasq(8) is told them. One that cannot be there keeps dnsmasq from starting, so it is refused before: a
 * CNAME that is twice there, or that leads back to itself (src/option.c and src/dnsmasq.c of 2.90).
 */
import type { DnsRecord, Reservation } from '@kvasir/contract'
import { refused } from './network-refused.ts'

/** What the records need to know of their network. */
export interface RecordsOf {
  readonly name: string
  readonly domain: string
  readonly reservations: readonly Reservation[]
  readonly records: readonly DnsRecord[]
}

/** `network-refused` for records that do not go together. */
export function requireRecords({ name, domain, reservations, records }: RecordsOf): void {
  const [seen, names, aliases] = [new Set<string>(), new Set<string>(), new Map<string, string>()]
  for (const { name: label } of reservations) if (label !== undefined) names.add(`${label}.${domain}`)
  for (const record of records) {
    const full = fullName(record.name, domain)
    const words = `${full} ${record.type} ${record.value}`
    if (seen.has(words)) throw refused(name, `it has the record ${words} twice`)
    seen.add(words)
    if (aliases.has(full) || (record.type === 'CNAME' && names.has(full)))
      throw refused(
        name,
        `${full} has a CNAME, so it has nothing else, and its records or reservations say more`,
      )
    names.add(full)
    if (record.type === 'CNAME') aliases.set(full, fullName(record.value, domain))
  }
  for (const alias of aliases.keys()) {
    const way = new Set<string>()
    for (let at: string | undefined = alias; at !== undefined; at = aliases.get(at)) {
      if (way.has(at)) throw refused(name, `the CNAME ${alias} leads back to itself`)
      way.add(at)
    }
  }
}

/** The lines of its configuration file. */
export function recordLines(records: readonly DnsRecord[], domain: string): readonly string[] {
  return records.map((record) => lineOf(record, domain))
}

function lineOf(record: DnsRecord, domain: string): string {
  const name = fullName(record.name, domain)
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return `host-record=${name},${record.value}`
    case 'CNAME':
      return `cname=${name},${fullName(record.value, domain)}`
    case 'TXT':
      return `txt-record=${name},"${record.value.replaceAll(/["\\]/g, String.raw`\$&`)}"`
    case 'SRV': {
      const [priority, weight, port, target = ''] = record.value.split(' ')
      return `srv-host=${name},${fullName(target, domain)},${port},${priority},${weight}`
    }
  }
}

/** A name as all of DNS knows it, without the dot at its end. */
function fullName(name: string, domain: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : `${lower}.${domain}`
}
