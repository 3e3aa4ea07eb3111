/** What is written down about an emulator when NICs come and go: their ids, by which its events are read. */
import type { NicPlan } from '../../model/qemu/nic.ts'
import type { StoredEmulator } from './runtime-directory.ts'

/** The record once a NIC is there, or is about to be. */
export function withNic(record: StoredEmulator, { nic, ids }: NicPlan): StoredEmulator {
  const known = record.plan.ids
  return { ...record, plan: { ids: { ...known, nics: { ...known.nics, [nic]: ids } } } }
}

export function withoutNic(record: StoredEmulator, nic: string): StoredEmulator {
  const known = record.plan.ids
  const { [nic]: _gone, ...nics } = known.nics
  return { ...record, plan: { ids: { ...known, nics } } }
}
