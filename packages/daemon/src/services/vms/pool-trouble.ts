/** The pools of a VM's disks that cannot be used. What is known of them is in memory, so asking waits for none. */
import type { VmStatus } from '@kvasir/contract'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { defaultPool } from '../pools/create-pool.ts'

/** A pool, why it cannot be used, and which disks lie on it. */
export type PoolTrouble = NonNullable<VmStatus['poolTrouble']>[number]

/** What is amiss with the pools of a VM's disks. */
export function poolTrouble(
  { spec }: Pick<VmRecord, 'spec'>,
  { ports, pools }: Pick<Context, 'ports' | 'pools'>,
): PoolTrouble[] {
  const troubled = new Map<string, PoolTrouble>()
  for (const { name, pool } of spec.disks) {
    const row = ports.store.pools.findByName(pool)
    const seen = row && pools.seen(row)
    if (seen?.state === 'active' || (pool === defaultPool && seen?.seenAt === undefined)) continue
    const known = troubled.get(pool)
    const { state, reason } = seen ?? { state: 'inactive' as const, reason: 'it does not exist' }
    troubled.set(pool, { pool, state, reason, disks: [...(known?.disks ?? []), name] })
  }
  return [...troubled.values()]
}

/** Why an emulator is silent, as far as its pools are: what speaks to a server itself may wait for that. `said`: what is known of it. */
export function silentReason(trouble: readonly PoolTrouble[], said: string): string {
  const silent = trouble.filter(({ state }) => state === 'unreachable')
  const words = silent.map(({ pool, disks }) => {
    const [last = '', ...others] = disks.toReversed()
    const which =
      others.length === 0 ? `disk ${last} lies` : `disks ${others.reverse().join(', ')} and ${last} lie`
    return `pool ${pool}, which ${which} on`
  })
  const alsoSilent = words.length === 0 ? '' : `, and neither does ${words.join(', nor ')}`
  return `${said}${alsoSilent}`
}
