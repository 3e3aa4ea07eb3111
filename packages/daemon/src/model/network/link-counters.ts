/**
 * What the kernel counts of links, read from /proc/net/dev (proc_pid_net(5)), which is of the network namespace of who reads it.
 *
 * A tap receives what its guest sends, and a macvtap sends it, so the words here are the guest's. What a network's rules drop, its guards and limits among them, was
 * received by the tap and counts as sent (rule-counts.ts).
 */

/** The packets of a NIC as its guest sees them, since its tap was made. */
export interface NicCounters {
  readonly nic: string
  readonly sentBytes: number
  readonly sentPackets: number
  /** Sent, and not taken by the host. */
  readonly sendDrops: number
  readonly receivedBytes: number
  readonly receivedPackets: number
  /** For the guest, which did not take them in time. */
  readonly receiveDrops: number
}

/** A NIC, by the name of its tap. */
export interface CountedNic {
  readonly nic: string
  readonly isMacvtap: boolean
}

/** The counters of NICs by the names of their taps; one whose tap is not there is left out. */
export function nicCounters(text: string, taps: ReadonlyMap<string, CountedNic>): readonly NicCounters[] {
  return text.split('\n').flatMap((line) => {
    const colon = line.indexOf(':')
    const tap = taps.get(line.slice(0, colon).trim())
    if (colon < 0 || tap === undefined) return []
    const numbers = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number)
    const [received, sent] = [numbers, numbers.slice(8)]
    const [sentBytes = 0, sentPackets = 0, , sendDrops = 0] = tap.isMacvtap ? sent : received
    const [receivedBytes = 0, receivedPackets = 0, , receiveDrops = 0] = tap.isMacvtap ? received : sent
    return [{ nic: tap.nic, sentBytes, sentPackets, sendDrops, receivedBytes, receivedPackets, receiveDrops }]
  })
}
