/** The addresses and routes of one link, as far as they are moved with it. */
import { runCommand } from '@kvasir/linux'
import { type LinkAddress, type LinkState, parseRoute } from '../../model/network/uplink-moves.ts'
import { readLinks, type ShownLink } from './links.ts'

const timeoutMs = 10_000
const forEver = 4_294_967_295

/** What a link has of the host now; nothing for one that is not there. */
export async function readLinkState(link: string): Promise<LinkState> {
  const found = (await readLinks()).find(({ ifname }) => ifname === link)
  if (!found) return { addresses: [], routes: [] }
  const addresses = addressesOf(found)
  const routes = []
  for (const [option, family] of [
    ['-4', 'inet'],
    ['-6', 'inet6'],
  ] as const) {
    // Not in JSON: only these words can be given back to ip(8) as they are.
    const argv = ['ip', option, 'route', 'show', 'table', 'all', 'dev', link] as const
    const { stdout } = await runCommand(argv, { timeoutMs })
    for (const line of stdout.split('\n')) {
      const route = parseRoute(line, family, addresses)
      if (route) routes.push(route)
    }
  }
  return { addresses, routes }
}

/** Whether a link has any address of the host. */
export function hasOwnAddresses(link: ShownLink): boolean {
  return addressesOf(link).length > 0
}

function addressesOf({ addr_info }: ShownLink): readonly LinkAddress[] {
  return addr_info.flatMap((shown) => {
    const { family, local, prefixlen, address: peer, scope, temporary } = shown
    const isLinkOwn = family === 'inet6' && scope === 'link'
    if (local === undefined || prefixlen === undefined || isLinkOwn || temporary) return []
    const { broadcast, label, metric, noprefixroute, mngtmpaddr, nodad } = shown
    const [valid, preferred] = [shown.valid_life_time, shown.preferred_life_time]
    const ends = valid !== undefined && valid < forEver ? { valid, preferred: preferred ?? valid } : {}
    const marks = { noprefixroute, mngtmpaddr, nodad }
    return [{ family, local, prefixlen, peer, broadcast, scope, label, metric, ...marks, ...ends }]
  })
}
