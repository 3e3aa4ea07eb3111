/**
 * The limits and the guards of NICs on macvtaps (nft(8), family netdev): a chain at each end of the macvtap, since none of what passes there comes by a bridge.
 * What the guest sends leaves the macvtap (egress, Linux 5.16 and newer), what it is sent comes in (ingress). A kernel knows the chains
 * of links that are there, so they are put when the macvtap is made, and before it is up.
 */
import { burstBytes } from './guard-rules.ts'
import { macvtapGuard } from './lan-guards.ts'
import { tableComment, tableName } from './link-names.ts'
import type { NetworkSpec } from './network-record.ts'
import { countedDrop, limitChain, type RuleCounts } from './rule-counts.ts'
import type { Wire } from './wires.ts'

/** The table that holds a network's guests to their limits, and to what they are; nothing where no NIC has any. */
export function macvtapTable(
  { id }: Pick<NetworkSpec, 'id'>,
  wires: readonly Wire[],
  counts: RuleCounts = new Map(),
): readonly string[] {
  const chains = wires.flatMap((wire) => [
    ...macvtapGuard(wire, counts),
    ...chainOf(wire.tap, { way: 'send', hook: 'egress', rate: wire.limits?.send, counts }),
    ...chainOf(wire.tap, { way: 'receive', hook: 'ingress', rate: wire.limits?.receive, counts }),
  ])
  if (chains.length === 0) return []
  return [`table netdev ${tableName(id)} {`, `  comment "${tableComment(id)}"`, ...chains, '}']
}

function chainOf(
  tap: string,
  {
    way,
    hook,
    rate,
    counts,
  }: {
    readonly way: 'send' | 'receive'
    readonly hook: 'egress' | 'ingress'
    readonly rate: number | undefined
    readonly counts: RuleCounts
  },
): readonly string[] {
  if (rate === undefined) return []
  const chain = limitChain(tap, way)
  return [
    `  chain ${chain} {`,
    `    type filter hook ${hook} device "${tap}" priority 0; policy accept;`,
    `    limit rate over ${rate} bytes/second burst ${burstBytes} bytes ${countedDrop(chain, counts)}`,
    '  }',
  ]
}
