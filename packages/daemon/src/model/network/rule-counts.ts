/**
 * What the rules of a network have dropped, by the chains that count it (guard-rules.ts, macvtap-rules.ts): their counters, as nft(8) prints
 * them. A table that is made anew begins with the counts of the former one, so what others do on a network takes nothing from a NIC's.
 */

/** What a rule has dropped since its NIC has it. */
export interface RuleCount {
  readonly packets: number
  readonly bytes: number
}

/** Of the rules of a network, by the names of their chains. */
export type RuleCounts = ReadonlyMap<string, RuleCount>

/** The packets of a NIC that rules dropped. */
export interface RuleDrops {
  /** Of what it sent, by its guards. */
  readonly guard: number
  /** Both ways, by its limits. */
  readonly limit: number
  /** Of what it sent, on the way to other isolated ones; what goes to many is one for each of those. */
  readonly isolation: number
}

/** The chain in which what the guard of a tap refuses is counted and dropped. */
export function dropChain(tap: string): string {
  return `${tap}_drop`
}

/** The chain in which what an isolated tap sends to another is counted and dropped. */
export function isolationChain(tap: string): string {
  return `${tap}_isolated`
}

/** The chain that holds a tap to a limit. */
export function limitChain(tap: string, way: 'send' | 'receive'): string {
  return `${tap}_${way}`
}

/** The words that count and drop in a chain, from what it had before. */
export function countedDrop(chain: string, counts: RuleCounts): string {
  const { packets, bytes } = counts.get(chain) ?? { packets: 0, bytes: 0 }
  return `counter packets ${packets} bytes ${bytes} drop`
}

/** The counts in a table as nft(8) prints it: one for each chain that counts. */
export function ruleCounts(table: string): RuleCounts {
  const counts = new Map<string, RuleCount>()
  let chain = ''
  for (const line of table.split('\n')) {
    chain = /^\s*chain (\S+) \{$/.exec(line)?.[1] ?? chain
    const [, packets, bytes] = /\bcounter packets (\d+) bytes (\d+)/.exec(line) ?? []
    if (packets !== undefined) counts.set(chain, { packets: Number(packets), bytes: Number(bytes) })
  }
  return counts
}

/** The same table whatever was counted meanwhile. */
export function withoutCounts(table: string): string {
  return table.replaceAll(/\bcounter packets \d+ bytes \d+/g, 'counter')
}

/** What was dropped of a tap's; undefined for one that nothing holds to anything. */
export function dropsOf(tap: string, counts: RuleCounts): RuleDrops | undefined {
  const chains = [dropChain(tap), limitChain(tap, 'send'), limitChain(tap, 'receive'), isolationChain(tap)]
  const [guard, send, receive, isolation] = chains.map((chain) => counts.get(chain)?.packets)
  if ((guard ?? send ?? receive ?? isolation) === undefined) return undefined
  return { guard: guard ?? 0, limit: (send ?? 0) + (receive ?? 0), isolation: isolation ?? 0 }
}
