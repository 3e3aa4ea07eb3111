/**
 * What of a network a caged program may speak to: servers by their addresses and TCP ports. A program that is given none of it has no network
 * at all (host/cage/connector.pl).
 */
import { isIP } from 'node:net'

/** A server, or a network of them, and its TCP ports. */
export interface Reach {
  /** An IPv4 or IPv6 address in figures, not a name; `/prefix` after it makes it a network. */
  readonly address: string
  readonly firstPort: number
  /** The first one where it is left out. */
  readonly lastPort?: number
  /** Connections come from a port below 1024, as servers of NFS ask for of who is root on his host (exports(5), `secure`). */
  readonly fromReservedPort?: boolean
}

/** One line of what the connector reads: address, bits of its prefix, first and last port, 1 for a reserved port. */
export function reachLine({ address, firstPort, lastPort = firstPort, fromReservedPort }: Reach): string {
  const [host = '', bits] = address.split('/')
  const family = isIP(host)
  const prefix = bits === undefined ? (family === 6 ? 128 : 32) : Number(bits)
  const isSound =
    family !== 0 &&
    !host.includes('%') &&
    Number.isInteger(prefix) &&
    prefix >= 0 &&
    prefix <= (family === 6 ? 128 : 32) &&
    isPort(firstPort) &&
    isPort(lastPort) &&
    firstPort <= lastPort
  if (!isSound) throw new TypeError(`${address}, ports ${firstPort} to ${lastPort}, is nothing to reach.`)
  return [host, prefix, firstPort, lastPort, fromReservedPort ? 1 : 0].join(' ')
}

/** All lines, each once. */
export function reachLines(reaches: readonly Reach[]): readonly string[] {
  return [...new Set(reaches.map(reachLine))]
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535
}
