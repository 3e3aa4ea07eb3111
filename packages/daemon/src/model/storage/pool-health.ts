/** How well a pool is, and by what that is judged. */
import { formatBytes } from '@kvasir/contract'

interface Concern {
  readonly health: 'warning' | 'bad'
  readonly remark: string
}

/** What is known of a pool. */
export interface PoolFacts {
  readonly space:
    | {
        readonly capacityBytes: number
        readonly availableBytes: number
        readonly isFixed?: boolean
        /** What its backend has to say besides. */
        readonly concerns?: readonly Concern[]
      }
    | undefined
  readonly provisionedBytes: number
  /** Volumes whose files were missing at the last refresh. */
  readonly missing: readonly string[]
}

export interface PoolHealth {
  readonly health: 'good' | 'warning' | 'bad' | 'unknown'
  readonly remarks: readonly string[]
}

/** Below these shares of free space, a pool is to be looked at, and in danger: thin volumes that grow into nothing stop their guests. */
const lowShare = 0.1
const fullShare = 0.02

/** Judges a pool. */
export function judgePool({ space, provisionedBytes, missing }: PoolFacts): PoolHealth {
  if (space === undefined) return { health: 'unknown', remarks: [] }
  const share = space.capacityBytes === 0 || space.isFixed ? 1 : space.availableBytes / space.capacityBytes
  const free = `${formatBytes(space.availableBytes)} of ${formatBytes(space.capacityBytes)} are free`
  const isFull = share < fullShare
  const isLow = !isFull && share < lowShare
  const times = space.capacityBytes === 0 ? 0 : provisionedBytes / space.capacityBytes
  const { concerns = [] } = space
  const remarks = [
    ...concerns.map(({ remark }) => remark),
    isFull || isLow ? `${free}.` : undefined,
    times > 1
      ? `Its volumes are provisioned with ${formatBytes(provisionedBytes)}, ${times.toFixed(1)} times what it holds.`
      : undefined,
    missing.length > 0
      ? `Missing: ${missing.slice(0, 5).join(', ')}${missing.length > 5 ? ', ...' : ''}.`
      : undefined,
  ].filter((remark) => remark !== undefined)
  const isBad = isFull || missing.length > 0 || concerns.some((concern) => concern.health === 'bad')
  const health = isBad ? 'bad' : remarks.length > 0 ? 'warning' : 'good'
  return { health, remarks }
}
