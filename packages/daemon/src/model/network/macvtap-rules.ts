/**
 * The limits of NICs on macvtaps (nft(8), family netdev): a chain at each end of the macvtap, since none of what passes there comes by a bridge.
 * What the guest sends leaves the macvtap (egress, Linux 5.16 and newer), what it is sent comes in (ingress). A kernel knows the chains
 * of links that are there, so they are put when the macvtap is made, and before it is up.
 */
import { burstBytes } from './guard-rules.ts'
import { tableComment, tableName } from './link-names.ts'
import type { NetworkSpec } from './network-record.ts'
import type { Wire } from './wires.ts'

/** The table that holds a network's guests to their limits; nothing where no NIC has any. */
export function macvtapTable({ id }: Pick<NetworkSpec, 'id'>, wires: readonly Wire[]): readonly string[] {
  const chains = wires.flatMap(({ tap, limits }) => [
    ...chainOf(tap, { end: 'send', hook: 'egress', rate: limits?.send }),
    ...chainOf(tap, { end: 'receive', hook: 'ingress', rate: limits?.receive }),
  ])
  if (chains.length === 0) return []
  return [`table netdev ${tableName(id)} {`, `  comment "${tableComment(id)}"`, ...chains, '}']
}

function chainOf(
  tap: string,
  {
    end,
    hook,
    rate,
  }: { readonly end: string; readonly hook: 'egress' | 'ingress'; readonly rate: number | undefined },
): readonly string[] {
  if (rate === undefined) return []
  return [
    `  chain ${tap}_${end} {`,
    `    type filter hook ${hook} device "${tap}" priority 0; policy accept;`,
    `    limit rate over ${rate} bytes/second burst ${burstBytes} bytes drop`,
    '  }',
  ]
}
