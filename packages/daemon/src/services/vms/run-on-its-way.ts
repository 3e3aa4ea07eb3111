/** What a row says of a run whose guest is asked for something: written down before anything is done. */
import type { JobKind, PlanChange, VmSpec } from '@kvasir/contract'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { channelsToMove } from './moved-channels.ts'
import { devicesToMove } from './moved-devices.ts'
import { allMoving, disksToMove } from './moved-disks.ts'
import { hostDevicesToMove } from './moved-host-devices.ts'
import { nicsToMove, withMovingNics } from './moved-nics.ts'
import { sharesToMove } from './moved-shares.ts'
import type { MovingField } from './names-to-move.ts'

/** The names of the devices that come to a guest that runs, leave it, or are changed in it. */
export interface Movement {
  readonly disks: readonly string[]
  readonly nics: readonly string[]
  readonly hostDevices: readonly string[]
  readonly channels: readonly string[]
  readonly shares: readonly string[]
  readonly devices: readonly string[]
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
    channels: channelsToMove(record, now('vm.set-channels')),
    shares: sharesToMove(record, now('vm.set-shares')),
    devices: devicesToMove(record, now('vm.set-devices')),
  }
}

export function isStill(movement: Movement): boolean {
  return Object.values(movement).every((names) => names.length === 0)
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
  const { disks, nics, hostDevices, channels, shares, devices, ...target } = way
  return {
    run: {
      ...run,
      ...target,
      ...(disks.length > 0 ? { movingDisks: allMoving(run, disks) } : {}),
      ...withMovingNics(record, nics),
      ...also(run, 'movingHostDevices', hostDevices),
      ...also(run, 'movingChannels', channels),
      ...also(run, 'movingShares', shares),
      ...also(run, 'movingDevices', devices),
    },
  }
}

function also(run: VmRun, field: MovingField, names: readonly string[]): Partial<VmRun> {
  return names.length === 0 ? {} : { [field]: [...new Set([...(run[field] ?? []), ...names])] }
}
