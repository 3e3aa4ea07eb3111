/** The part of the audit that is about files of the state directory: saved memory, seeds, TPMs, UEFI variables, notes of volumes. */
import type { AuditEntry } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { knownNvrams } from '../vms/nvram.ts'
import { volumeWords } from '../volumes/volume-words.ts'

/** What a part of the audit found, of so many things. */
export interface Found {
  readonly entries: readonly AuditEntry[]
  readonly checked: number
}

/** Saved memory, of VMs that are saved. */
export async function auditSaves(context: Context): Promise<Found> {
  const { files, store } = context.ports
  const saves = await files.listSaves()
  const entries: AuditEntry[] = []
  for (const save of saves) {
    const row = store.vms.get(save.vmId)
    const record = row?.kind === 'vm' ? row.record : undefined
    const isUnderWay = context.drivers.get(save.vmId)?.view().busyWith !== undefined
    if (isUnderWay || (record?.saved && !save.partial)) continue
    entries.push({
      kind: 'orphan',
      thing: 'saved memory',
      id: save.vmId,
      detail: 'A file of saved memory that no VM knows of.',
    })
  }
  const there = new Set(saves.map((save) => save.vmId))
  for (const driver of context.drivers.list()) {
    const { record } = driver.view()
    if (record.phase === 'ready' && record.saved && !there.has(record.id))
      entries.push({
        kind: 'missing',
        thing: 'saved memory',
        id: record.id,
        detail: `VM ${record.name} is saved and its file is gone.`,
      })
  }
  return { entries, checked: saves.length }
}

/** A seed is written at each start of its VM, and so is the directory of its TPM; both go with the VM, so that one of no VM is left over. */
export async function auditSeeds(context: Context): Promise<Found> {
  const { files, store } = context.ports
  const seeds = await files.listSeeds()
  const tpms = await files.listTpms()
  const orphan = (thing: string) => (id: string) => ({
    kind: 'orphan' as const,
    thing,
    id,
    detail: `The ${thing} of a VM that does not exist.`,
  })
  const isStray = (vmId: string) => !store.vms.get(vmId)
  const entries: AuditEntry[] = [
    ...seeds.filter(isStray).map(orphan('cloud-init seed')),
    ...tpms.filter(isStray).map(orphan('state of the TPM')),
  ]
  return { entries, checked: seeds.length + tpms.length }
}

/** UEFI variables. While a VM is worked on, some are made that no row names yet. */
export async function auditNvrams({ ports, drivers }: Context): Promise<Found> {
  const { files, store } = ports
  const there = new Set(await files.listNvrams())
  const known = knownNvrams(store)
  const isCalm = drivers.list().every((driver) => driver.view().busyWith === undefined)
  const orphans = [...there].filter((id) => isCalm && !known.has(id) && !store.vms.get(id))
  const missing = [...known].filter((id) => isCalm && !there.has(id))
  const entries: AuditEntry[] = [
    ...orphans.map((id) => ({
      id,
      kind: 'orphan' as const,
      detail: 'They belong to no VM and no snapshot.',
    })),
    ...missing.map((id) => ({ id, kind: 'missing' as const, detail: 'A VM or a snapshot has them.' })),
  ].map((entry) => ({ ...entry, thing: 'UEFI variables' }))
  return { entries, checked: there.size }
}

/** What was noted of volumes. While a VM is worked on, some is there that no row names yet, or any more. */
export async function auditNotes({ ports, drivers }: Context): Promise<Found> {
  const { files, store } = ports
  const isCalm = () => drivers.list().every((driver) => driver.view().busyWith === undefined)
  const wasCalm = isCalm()
  const there = await files.listNotes()
  const strays = wasCalm && isCalm() ? there.filter((id) => store.volumes.get(id)?.notesOf === undefined) : []
  const entries = strays.map((id): AuditEntry => {
    const volume = store.volumes.get(id)
    const whose = volume
      ? `volume ${volumeWords(volume)}, which has changed since`
      : 'a volume that does not exist'
    const detail = `What checkpoints had noted of ${whose}; the next start of the daemon removes it.`
    return { kind: 'orphan', thing: 'notes of a volume', id, detail }
  })
  return { entries, checked: there.length }
}
