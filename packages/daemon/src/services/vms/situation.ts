/** What a VM is while its spec is compared with another one. */
import type { Situation } from '../../model/vm/plan-changes.ts'
import type { VmRecord } from '../../ports/store.ts'

/** The situation of a VM, by its record. */
export function situationOf({ life, saved, hardware }: VmRecord): Situation {
  return { state: saved ? 'saved' : life.state, plugMemory: hardware.plugMemory }
}
