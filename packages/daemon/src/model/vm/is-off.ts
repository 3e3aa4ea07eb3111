/** Whether a VM has come to rest without an emulator. */
import type { VmState } from '@kvasir/contract'

const offStates: ReadonlySet<VmState> = new Set(['shutoff', 'crashed', 'saved'])

/** True of a VM that is shut off, crashed or saved; every other state says that an emulator runs, or may. */
export function isOff(record: { readonly life: { readonly state: VmState } }): boolean {
  return offStates.has(record.life.state)
}
