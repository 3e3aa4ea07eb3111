/** The rows of networks: what each is, and how far its making or its end has come. */
import {
  dnsRecord,
  macvtapModes,
  networkModes,
  reservation,
  sriovSpec,
  vlanId,
  vlanTrunk,
} from '@kvasir/contract'
import { z } from 'zod'
import type { NetworkRecord, Store } from '../ports/store.ts'
import type { Database } from './database.ts'
import { namedRows } from './named-rows.ts'

const networkContent = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  mode: z.enum(networkModes),
  bridge: z.string(),
  macvtap: z.enum(macvtapModes).optional(),
  forced: z.boolean().optional(),
  uplink: z.object({ link: z.string(), force: z.boolean() }).optional(),
  vlans: z.object({ vlan: vlanId.optional(), trunk: vlanTrunk.optional() }).optional(),
  mtu: z.number(),
  ipv4: z
    .object({
      subnet: z.string(),
      gateway: z.string(),
      dhcp: z.object({ first: z.string(), last: z.string() }).optional(),
    })
    .optional(),
  ipv6: z.object({ subnet: z.string(), gateway: z.string(), dhcp: z.boolean() }).optional(),
  sriov: sriovSpec.optional(),
  domain: z.string(),
  reservations: z.array(reservation),
  records: z.array(dnsRecord).optional(),
  autostart: z.boolean(),
  started: z.boolean(),
  bootId: z.string(),
  phase: z.enum(['creating', 'ready', 'deleting']),
  createdAt: z.string(),
})

/** The repository of the rows of networks. */
export function networkRows(database: Database): Store['networks'] {
  return namedRows(database, {
    table: 'networks',
    noun: 'network',
    notFound: 'network-not-found',
    remains: 'what runs of it on the host is',
    parse: parseNetwork,
  })
}

function parseNetwork(content: unknown): NetworkRecord | undefined {
  const parsed = networkContent.safeParse(content).data
  if (parsed === undefined) return undefined
  const { ipv4, ipv6 } = parsed
  return { ...parsed, ipv4: ipv4 && { ...ipv4, dhcp: ipv4.dhcp }, ipv6 }
}
