/** NICs as words: `mode=user,forward=2222:22`, and `127.0.0.1:2222:22` for a forward. */
import type { NicSpec, VmSpecInput } from '@kvasir/contract'
import { UsageError } from '../usage-error.ts'
import { parsePairs, requireValue, toBoolean, toInteger } from './device-words.ts'

/** A NIC as a request writes it. */
export type NicInput = NonNullable<VmSpecInput['nics']>[number]
/** A forward as a request writes it. */
export type ForwardInput = NonNullable<NicInput['forwards']>[number]

const nicKeys = [
  'mode',
  'network',
  'model',
  'mac',
  'address',
  'ipv6',
  'forward',
  'antiSpoof',
  'isolated',
  'vlan',
  'trunk',
  'queues',
  'mtu',
  'offloads',
  'link',
  'send',
  'receive',
] as const

/** Parses a NIC; `forward` may be given several times. */
export function parseNic(text: string, fallbackName: string): NicInput {
  // The daemon's schema judges the values, as for disks.
  return { name: fallbackName, ...nicFields(text, ['name', ...nicKeys]) } as NicInput
}

/** What of a NIC is to be another: its forwards are those that are named, or `forward=none`; a limit, an address of IPv6, a VLAN, queues, an MTU or offloads that are `none` go. */
export function parseNicChange(text: string): NicChange {
  return nicFields(text, nicKeys)
}

/** Fields of a NIC; a limit that goes is `undefined`. */
export type NicChange = Omit<
  NicInput,
  'name' | 'limits' | 'ipv6' | 'vlan' | 'trunk' | 'queues' | 'mtu' | 'offloads'
> & {
  readonly ipv6?: NicInput['ipv6']
  readonly queues?: NicInput['queues']
  readonly mtu?: NicInput['mtu']
  readonly offloads?: NicInput['offloads']
  readonly vlan?: NicInput['vlan']
  readonly trunk?: NicInput['trunk']
  readonly limits?: { readonly send?: string | undefined; readonly receive?: string | undefined }
}

/** Its addresses are those of its network; a limit that is not named stays. In user mode a NIC is on no network. */
export function changedNic(nic: NicSpec, { limits: newLimits, ...change }: NicChange): NicInput {
  const { address, ipv6, network, limits: oldLimits, ...rest } = nic
  const limits = { ...oldLimits, ...newLimits }
  const isLimited = (limits.send ?? limits.receive) !== undefined
  const leaves = change.mode === 'user' && change.network === undefined
  const stays = !leaves && (change.network === undefined || change.network === network)
  return {
    ...rest,
    ...(leaves || network === undefined ? {} : { network }),
    ...(stays && address !== undefined ? { address } : {}),
    ...(stays && ipv6 !== undefined ? { ipv6 } : {}),
    ...change,
    ...(isLimited ? { limits } : {}),
  }
}

function limitFields(pairs: readonly (readonly [key: string, value: string | undefined])[]) {
  const limits = pairs
    .filter(([key]) => key === 'send' || key === 'receive')
    .map(([key, value]) => [key, value === 'none' ? undefined : requireValue(key, value)] as const)
  return limits.length === 0 ? {} : { limits: Object.fromEntries(limits) }
}

function nicFields(text: string, keys: readonly string[]): Record<string, unknown> {
  const pairs = parsePairs(text, keys, 'NIC')
  const fields: Record<string, unknown> = limitFields(pairs)
  const forwards = pairs.flatMap(([key, value]) => (key === 'forward' ? [requireValue(key, value)] : []))
  for (const [key, value] of pairs) {
    if (key === 'antiSpoof' || key === 'isolated') fields[key] = toBoolean(key, value)
    else if (key === 'vlan' || key === 'queues' || key === 'mtu')
      fields[key] = value === 'none' ? undefined : toInteger(key, value)
    else if (key === 'offloads' || key === 'ipv6')
      fields[key] = value === 'none' ? undefined : requireValue(key, value)
    else if (key === 'trunk')
      fields[key] = value === 'none' ? undefined : parseTrunk(requireValue(key, value))
    else if (!['forward', 'send', 'receive'].includes(key)) fields[key] = requireValue(key, value)
  }
  const isNone = forwards.length === 1 && forwards[0] === 'none'
  return forwards.length === 0 ? fields : { ...fields, forwards: isNone ? [] : forwards.map(parseForward) }
}

/** Parses `10+20-30`; commas part the fields of a NIC. */
export function parseTrunk(text: string): (number | string)[] {
  return text.split(/[+ ]/).map((word) => (/^\d+$/.test(word) ? Number(word) : word))
}

/** Parses `[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT`, with an IPv6 address in brackets. */
export function parseForward(text: string): ForwardInput {
  const match = /^(?:(tcp|udp):)?(?:(\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+):)?(\d{1,5}):(\d{1,5})$/i.exec(text)
  if (match === null) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a forward.`,
      'Write HOSTPORT:GUESTPORT, such as 2222:22 or udp:0.0.0.0:5353:53.',
    )
  }
  const [, protocol, address, hostPort, guestPort] = match
  return {
    ...(protocol?.toLowerCase() === 'udp' ? { protocol: 'udp' } : {}),
    ...(address === undefined ? {} : { hostAddress: address.replace(/^\[|\]$/g, '') }),
    hostPort: Number(hostPort),
    guestPort: Number(guestPort),
  }
}
