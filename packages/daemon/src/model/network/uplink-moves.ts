/**
 * What a host has on a link, and the commands of ip(8) that move it to another: from an uplink to the bridge around it, and back.
 *
 * The commands follow from what each link has at that moment, so whoever finds half of it done does the other half, and who finds all of it
 * done does nothing. First an address is there, then its routes, and only then does the address go from where it was.
 *
 * Link-local addresses of IPv6 stay: each link has its own. Addresses that guests of chance use (RFC 8981) are made anew by the kernel. Facts:
 * ip-address(8), ip-route(8); the kernel lists addresses of IPv6 of one scope the last first (net/ipv6/addrconf.c, ipv6_link_dev_addr).
 */
import { formatSubnet, parseSubnet } from './address.ts'

/** An address as `ip -json address` tells it. */
export interface LinkAddress {
  readonly family: 'inet' | 'inet6'
  readonly local: string
  readonly prefixlen: number
  /** Of a link between two. */
  readonly peer?: string | undefined
  readonly broadcast?: string | undefined
  readonly scope: string
  readonly label?: string | undefined
  readonly metric?: number | undefined
  readonly noprefixroute?: boolean | undefined
  readonly mngtmpaddr?: boolean | undefined
  readonly nodad?: boolean | undefined
  /** Seconds, of one that ends. */
  readonly valid?: number | undefined
  readonly preferred?: number | undefined
}

/** A route as `ip route show` tells it, without its link; seconds for one that ends. */
export interface LinkRoute {
  readonly family: 'inet' | 'inet6'
  readonly words: string
  readonly expires?: number | undefined
}

export interface LinkState {
  readonly addresses: readonly LinkAddress[]
  readonly routes: readonly LinkRoute[]
}

export const nothingOnLink: LinkState = { addresses: [], routes: [] }

/** A line of `ip route show table all dev LINK`; undefined for what the kernel makes by itself where an address is. */
export function parseRoute(
  line: string,
  family: LinkRoute['family'],
  addresses: readonly LinkAddress[],
): LinkRoute | undefined {
  const expires = /\bexpires (-?\d+)sec\b/.exec(line)?.[1]
  const words = line
    .replace(/\bexpires -?\d+sec\b/, '')
    .replace(/\b(linkdown|dead|pervasive|offload|trap|rt_offload|rt_trap)\b/g, '')
    .replace(/\berror -?\d+\b/, '')
    .replace(/\s+/g, ' ')
    .trim()
  const [first = ''] = words.split(' ')
  const isOther = /^(local|broadcast|anycast|multicast|unreachable|blackhole|prohibit|throw)$/.test(first)
  const isLinkOwn = /^(fe80:|ff)/.test(first) && family === 'inet6'
  if (words === '' || isOther || isLinkOwn) return undefined
  if (/\bproto kernel\b/.test(words) && isOfAddress(first, addresses)) return undefined
  return { family, words, ...(expires === undefined ? {} : { expires: Number(expires) }) }
}

/** Whether the kernel adds the route with an address. */
function isOfAddress(to: string, addresses: readonly LinkAddress[]): boolean {
  return addresses.some(({ local, peer, prefixlen, noprefixroute }) => {
    const subnet = parseSubnet(`${peer ?? local}/${prefixlen}`)
    const own = subnet && formatSubnet(subnet)
    return noprefixroute !== true && (own === to || own === `${to}/${prefixlen}`)
  })
}

/** The commands that bring what is wanted to a link, and take all of it from the other. `to` ones have no look for duplicates where asked. */
export function moveLines(
  wanted: LinkState,
  {
    from,
    to,
    atOnce,
  }: {
    readonly from: { readonly link: string; readonly has: LinkState }
    readonly to: { readonly link: string; readonly has: LinkState }
    /** An address of IPv6 counts from its first moment: nobody else has it, since this host had it already. */
    readonly atOnce: boolean
  },
): readonly string[] {
  const [hasAddresses, hasRoutes] = [to.has.addresses.map(addressKey), to.has.routes.map(routeKey)]
  const [fromRoutes, fromAddresses] = [from.has.routes, from.has.addresses]
  const missing = inOrder(wanted.addresses).filter((address) => !hasAddresses.includes(addressKey(address)))
  const moving = wanted.routes.filter((route) => !hasRoutes.includes(routeKey(route)))
  const gone = (route: LinkRoute) => fromRoutes.some((one) => routeKey(one) === routeKey(route))
  return [
    ...missing.map((address) => `address add ${addressWords(address, to.link, atOnce)} dev ${to.link}`),
    ...wanted.routes.filter(gone).map((route) => routeLine('delete', route, from.link)),
    ...moving.map((route) => routeLine('add', route, to.link)),
    ...fromAddresses.toReversed().map((address) => `address delete ${subject(address)} dev ${from.link}`),
  ]
}

/** What is wanted where a move was cut short: what was noted, and what has come since. */
export function unionOf(noted: LinkState, now: LinkState): LinkState {
  const [addresses, routes] = [noted.addresses.map(addressKey), noted.routes.map(routeKey)]
  return {
    addresses: [...noted.addresses, ...now.addresses.filter((one) => !addresses.includes(addressKey(one)))],
    routes: [...noted.routes, ...now.routes.filter((one) => !routes.includes(routeKey(one)))],
  }
}

/** What is there now, in the order and with the marks that it was noted with. */
export function asNoted(now: LinkState, noted: LinkState): LinkState {
  const order = (key: string) => {
    const at = noted.addresses.findIndex((one) => addressKey(one) === key)
    return at === -1 ? noted.addresses.length : at
  }
  const addresses = now.addresses
    .toSorted((a, b) => order(addressKey(a)) - order(addressKey(b)))
    .map((address) => {
      const before = noted.addresses.find((one) => addressKey(one) === addressKey(address))
      return { ...address, label: before?.label, nodad: before?.nodad }
    })
  return { addresses, routes: now.routes }
}

function addressKey({ local, prefixlen, peer }: LinkAddress): string {
  return `${local} ${peer ?? ''}/${prefixlen}`
}

function routeKey({ family, words }: LinkRoute): string {
  return `${family} ${words}`
}

/** The order in which they have to be added to be listed as they are now. */
function inOrder(addresses: readonly LinkAddress[]): readonly LinkAddress[] {
  const of = (family: LinkAddress['family']) => addresses.filter((address) => address.family === family)
  return [...of('inet'), ...of('inet6').toReversed()]
}

function subject({ local, peer, prefixlen }: LinkAddress): string {
  return peer === undefined ? `${local}/${prefixlen}` : `${local} peer ${peer}/${prefixlen}`
}

/** A label begins with the name of its link (ip-address(8)), so it fits only where it was. */
function addressWords(address: LinkAddress, link: string, atOnce: boolean): string {
  const { family, broadcast, scope, label, metric, valid, preferred } = address
  const isNew = family === 'inet6' && (atOnce || address.nodad === true)
  return [
    subject(address),
    ...(broadcast === undefined ? [] : [`broadcast ${broadcast}`]),
    ...(label?.startsWith(link) && label !== link ? [`label ${label}`] : []),
    ...(scope === 'global' ? [] : [`scope ${scope}`]),
    ...(metric === undefined ? [] : [`metric ${metric}`]),
    ...(valid === undefined
      ? []
      : [`valid_lft ${valid} preferred_lft ${Math.min(preferred ?? valid, valid)}`]),
    ...(address.noprefixroute ? ['noprefixroute'] : []),
    ...(address.mngtmpaddr ? ['mngtmpaddr'] : []),
    ...(isNew ? ['nodad'] : []),
  ].join(' ')
}

/** In a batch nothing but the destination says of which family a route is. */
function routeLine(verb: 'add' | 'delete', { family, words, expires }: LinkRoute, link: string): string {
  const end = verb === 'add' && expires !== undefined && expires > 0 ? ` expires ${expires}` : ''
  const named = family === 'inet6' ? words.replace(/^default\b/, '::/0') : words
  return `route ${verb} ${named} dev ${link}${end}`
}
