/** Which devices of a kind come to a guest that runs or leave it now: by a change, or because an earlier one did not get so far. */
import type { PlanChange, VmSpec } from '@kvasir/contract'
import { freePorts } from '../../model/pci/layout.ts'
import { planChanges } from '../../model/vm/plan-changes.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { situationOf } from './situation.ts'

/** Where a row keeps the names of devices that come, go or are changed, for as long as that is worked on. */
export type MovingField =
  | 'movingDisks'
  | 'movingNics'
  | 'movingHostDevices'
  | 'movingChannels'
  | 'movingShares'
  | 'movingDevices'

/** A change of a VM, as it is asked for. */
export interface WantedMove {
  readonly spec: VmSpec
  readonly changes: readonly PlanChange[]
  /** Whether a job works on the devices of the kind that come or go. */
  readonly isUnderWay: boolean
  readonly ports: Pick<Ports, 'store' | 'host'>
}

/** What is particular to a kind of device. */
export interface MovedDevices {
  readonly field: MovingField
  /** The names of those that one of two specs has and the other has not, or has otherwise. */
  readonly moved: (before: VmSpec, after: VmSpec) => readonly string[]
  /** The fields of a plan by which one comes, goes or is moved. */
  readonly fieldsOf: (name: string) => readonly string[]
}

/** Their names. Of a change that changes nothing, those that the same was asked for before and that are not there yet. */
export function namesToMove(
  record: VmRecord,
  wanted: WantedMove,
  { field, moved, fieldsOf }: MovedDevices,
): readonly string[] {
  const { run, spec } = record
  if (!run) return []
  const live = (before: VmSpec, changes: readonly PlanChange[]) =>
    moved(before, wanted.spec).filter((name) =>
      changes.some((change) => change.effect === 'live' && fieldsOf(name).includes(change.field)),
    )
  if (wanted.changes.length > 0) return live(spec, wanted.changes)
  const missing = live(run.bootedSpec, planChanges(run.bootedSpec, wanted.spec, asItIs(record, run, wanted)))
  return missing.filter((name) => !wanted.isUnderWay || run[field]?.includes(name) !== true)
}

/** What is on its way takes no more slots than it has. */
function asItIs(record: VmRecord, { bootedHardware }: VmRun, { ports }: WantedMove) {
  return {
    ...situationOf(record, ports),
    freePorts: bootedHardware && freePorts(bootedHardware, bootedHardware),
  }
}

/** The run when nobody works on a device any more. */
export function withoutMoving(run: VmRun, field: MovingField, name: string): VmRun {
  const left = (run[field] ?? []).filter((one) => one !== name)
  const { [field]: _done, ...rest } = run
  return left.length === 0 ? rest : { ...rest, [field]: left }
}
