/** What a row says of a run whose guest is asked for something: written down before anything is done. */
import type { VmRecord } from '../../ports/store.ts'
import { allMoving } from './moved-disks.ts'
import { withMovingNics } from './moved-nics.ts'

/** The run with what the guest is to be given, or to let go of. */
export function runOnItsWay(
  record: VmRecord,
  way: {
    readonly disks: readonly string[]
    readonly nics: readonly string[]
    readonly vcpuTarget?: number | undefined
  },
): Partial<Pick<VmRecord, 'run'>> {
  const { run } = record
  if (!run) return {}
  const { disks, nics, ...target } = way
  return {
    run: {
      ...run,
      ...target,
      ...(disks.length > 0 ? { movingDisks: allMoving(run, disks) } : {}),
      ...withMovingNics(record, nics),
    },
  }
}
