/** Network interfaces by the PCI device that they belong to, and what hangs on them. */
import { lastPciAddress } from './block-uses.ts'
import type { HostTree } from './host-tree.ts'

const classFolder = '/sys/class/net'
const namePattern = /^[^/\s]{1,15}$/
/** Bonds and bridges above an interface that are followed. */
const mostLayers = 4

/** An interface of a device. */
export interface InterfaceReading {
  readonly link: string
  readonly isUp: boolean
  /** The bridge or bond that it is a port of. */
  readonly master?: string
  /** Whether the host's way out leads over it, itself or its bridge. */
  readonly hasDefaultRoute: boolean
}

/** The interfaces, by the address of the PCI function. */
export function readInterfaces(tree: HostTree): ReadonlyMap<string, readonly InterfaceReading[]> {
  const routed = linksOfDefaultRoutes(tree)
  const found = new Map<string, InterfaceReading[]>()
  for (const link of tree.list(classFolder, namePattern)) {
    const address = lastPciAddress(tree.linkTarget(`${classFolder}/${link}`))
    if (address === undefined) continue
    const masters = mastersOf(tree, link)
    const [master] = masters
    const reading = {
      link,
      isUp: tree.readText(`${classFolder}/${link}/operstate`) === 'up',
      ...(master === undefined ? {} : { master }),
      hasDefaultRoute: [link, ...masters].some((name) => routed.has(name)),
    }
    found.set(address, [...(found.get(address) ?? []), reading])
  }
  return found
}

function mastersOf(tree: HostTree, link: string): readonly string[] {
  const masters: string[] = []
  for (let name: string | undefined = link; masters.length < mostLayers; ) {
    name = tree.linkName(`${classFolder}/${name}/master`)
    if (name === undefined || masters.includes(name)) return masters
    masters.push(name)
  }
  return masters
}

/** Fields of /proc/net/route and ipv6_route: net/ipv4/fib_trie.c, net/ipv6/route.c. */
function linksOfDefaultRoutes(tree: HostTree): ReadonlySet<string> {
  const rows = (path: string) => (tree.readText(path) ?? '').split('\n').map((line) => line.split(/\s+/))
  const ipv4 = rows('/proc/net/route').flatMap(([link, to, , , , , , mask]) =>
    link !== undefined && to === '00000000' && mask === '00000000' ? [link] : [],
  )
  const ipv6 = rows('/proc/net/ipv6_route').flatMap((fields) => {
    const [to = '', prefix] = fields
    const link = fields[9]
    return link !== undefined && link !== 'lo' && /^0{32}$/.test(to) && prefix === '00' ? [link] : []
  })
  return new Set([...ipv4, ...ipv6])
}
