/** The volumes of a snapshot whose pools keep what they hold at one moment, opened for that before the guest has to wait. */
import type { CopyAtMoment, Moment } from '../../ports/pools.ts'
import type { Ports } from '../../ports/ports.ts'
import { usablePool } from '../pools/usable-pool.ts'
import type { DiskSwitch } from './plan-switch.ts'

/** A disk of which a clone is made. */
export type DiskCopy = Extract<DiskSwitch, { readonly kind: 'copy' }>

/** The moments of all pools that have such. */
export interface Moments extends AsyncDisposable {
  /** Whether a disk is among them. */
  readonly keeps: (disk: DiskCopy) => boolean
  take(): Promise<void>
}

/** Opens the volumes of those disks whose pools can keep what they hold. */
export async function openMoments(copies: readonly DiskCopy[], ports: Ports): Promise<Moments> {
  const byPool = Map.groupBy(copies, ({ volume }) => volume.pool)
  const opened: Moment[] = []
  const kept = new Set<DiskCopy>()
  await using undo = new AsyncDisposableStack()
  for (const [pool, disks] of byPool) {
    const { moments } = usablePool(pool, ports)
    if (!moments) continue
    opened.push(undo.use(await moments.open(disks.map(copyAtMoment))))
    for (const disk of disks) kept.add(disk)
  }
  const held = undo.move()
  return {
    keeps: (disk) => kept.has(disk),
    take: async () => {
      const taken = await Promise.allSettled(opened.map((moment) => moment.take()))
      for (const one of taken) if (one.status === 'rejected') throw one.reason
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}

function copyAtMoment({ volume, copy }: DiskCopy): CopyAtMoment {
  return { origin: volume, copy }
}
