/** Records that the DNS of a network has besides the names of its guests. */
import { z } from 'zod'

/** The most records of a network. */
export const mostRecords = 4096

const dnsName = z
  .string()
  .toLowerCase()
  .max(253)
  .regex(
    /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?)*\.?$/,
    'is not a name for DNS',
  )
  .meta({ description: 'In the domain of the network, unless it ends with a dot: db, registry.example.com.' })

const server = z.string().regex(/^\d{1,5} \d{1,5} \d{1,5} \S+$/, 'is not PRIORITY WEIGHT PORT NAME')

/** One record, in the words of a zone file (RFC 1035, RFC 2782). */
export const dnsRecord = z
  .discriminatedUnion('type', [
    z.strictObject({ name: dnsName, type: z.literal('A'), value: z.ipv4() }),
    z.strictObject({ name: dnsName, type: z.literal('AAAA'), value: z.ipv6() }),
    z.strictObject({
      name: dnsName,
      type: z.literal('CNAME'),
      value: dnsName.meta({ description: 'The name of a guest, or of another record.' }),
    }),
    z.strictObject({
      name: dnsName,
      type: z.literal('TXT'),
      value: z.string().regex(/^[\x20-\x7e]{1,255}$/, 'is not 1 to 255 printable characters of ASCII'),
    }),
    z.strictObject({
      name: dnsName,
      type: z.literal('SRV'),
      value: server
        .refine(
          (text) =>
            text
              .split(' ')
              .slice(0, 3)
              .every((word) => Number(word) <= 65_535),
          'has a number above 65535',
        )
        .refine((text) => dnsName.safeParse(text.split(' ')[3]).success, 'names no server')
        .meta({ description: 'PRIORITY WEIGHT PORT NAME.' }),
    }),
  ])
  .meta({ id: 'DnsRecord' })

export type DnsRecord = z.output<typeof dnsRecord>
