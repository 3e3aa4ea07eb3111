/** What a row says of a run whose guest is asked for something: written down before anything is done. */
import type { JobKind, PlanChange, VmSpec } from '@kvasir/contract'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { allMoving, disksToMove } from './moved-disks.ts'
import { hostDevicesToMove } from './moved-host-devices.ts'
import { nicsToMove, withMovingNics } from './moved-nics.ts'

/** The names of the devices that come to a guest that runs, leave it, or are changed in it. */
export interface Movement {
  readonly disks: readonly string[]
  readonly nics: readonly string[]
  readonly hostDevices: readonly string[]
}

/** What moves by a change. */
export function movementOf(
  record: VmRecord,
  wanted: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  { jobs, ports }: Pick<Context, 'jobs' | 'ports'>,
): Movement {
  const now = (kind: JobKind) => ({ ...wanted, ports, isUnderWay: jobs.isUnderWay([kind], record.id) })
  return {
    disks: disksToMove(record, now('vm.set-disks')),
    nics: nicsToMove(record, now('vm.set-nics')),
    hostDevices: hostDevicesToMove(record, now('vm.set-host-devices')),
  }
}

export function isStill({ disks, nics, hostDevices }: Movement): boolean {
  return disks.length + nics.length + hostDevices.length === 0
}

/** The run with what the guest is to be given, or to let go of. */
export function runOnItsWay(
  record: VmRecord,
  way: Movement & {
    readonly vcpuTarget?: number | undefined
  },
): Partial<Pick<VmRecord, 'run'>> {
  const { run } = record
  if (!run) return {}
  const { disks, nics, hostDevices, ...target } = way
  return {
    run: {
      ...run,
      ...target,
      ...(disks.length > 0 ? { movingDisks: allMoving(run, disks) } : {}),
      ...withMovingNics(record, nics),
      ...(hostDevices.length > 0
        ? { movingHostDevices: [...new Set([...(run.movingHostDevices ?? []), ...hostDevices])] }
        : {}),
    },
  }
}
