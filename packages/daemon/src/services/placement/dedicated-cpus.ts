/** The CPUs that dedicated VMs have for themselves while they are not off: nobody else runs there. */
import { isOff } from '../../model/vm/is-off.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Store, VmRecord } from '../../ports/store.ts'

type Placed = Pick<VmRecord, 'id' | 'life' | 'placement'>

/** The CPUs that VMs other than one have for themselves, ascending. */
export function dedicatedAmong(records: readonly Placed[], except: string): readonly number[] {
  return records
    .filter((record) => record.id !== except && !isOff(record))
    .flatMap(({ placement }) =>
      placement?.plan.placement === 'dedicated' ? placement.plan.threads.vcpus : [],
    )
    .flatMap(({ cpus }) => cpus)
    .sort((a, b) => a - b)
}

/** The records that are driven. */
export function drivenRecords(drivers: Drivers): readonly VmRecord[] {
  return drivers.list().map((driver) => driver.view().record)
}

/** The records that are stored, for those who drive none yet. */
export function storedRecords(store: Pick<Store, 'vms'>): readonly VmRecord[] {
  return store.vms.list().flatMap((row) => (row.kind === 'vm' ? [row.record] : []))
}
