/**
 * The variables of a VM's UEFI. They are made at its first start, under the VM's id; from then on its row says which they are: a revert
 * brings others, so that row and disks change in one transaction. The state of its TPM is the VM's alone.
 */
import { KvasirError, type VmSpec } from '@kvasir/contract'
import { chooseFirmware, type FirmwareImage } from '../../model/qemu/choose-firmware.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { Store, VmRecord } from '../../ports/store.ts'

/** The image that a VM boots by; undefined for a BIOS. `file-not-found` where the host does not have it. */
export async function firmwareOf(
  { name, nvram }: Pick<VmRecord, 'name' | 'nvram'>,
  { spec, machine }: { readonly spec: VmSpec; readonly machine: string },
  { host }: Ports,
): Promise<FirmwareImage | undefined> {
  const { firmware, secureBoot = false } = spec.machine
  if (firmware === 'bios') return undefined
  const wish = { machine, secureBoot, executable: nvram?.executable }
  const found = chooseFirmware(await host.firmware(), wish)
  if (found) return found
  const kind = `UEFI image ${secureBoot ? 'with secure boot and keys ' : ''}for ${machine}`
  const what = nvram ? `the UEFI image ${nvram.executable}, which its variables fit` : `a ${kind}`
  throw new KvasirError(
    'file-not-found',
    `VM ${name} boots by ${what}, and this host has none, so it cannot start; install the package ovmf.`,
    { details: { field: 'machine.firmware' } },
  )
}

/** The files of a start, as its plan names them. */
export function firmwareFiles(
  { id, nvram }: Pick<VmRecord, 'id' | 'nvram'>,
  image: FirmwareImage | undefined,
  { files }: Ports,
): { readonly executable: string; readonly nvramPath: string } | undefined {
  return image && { executable: image.executable, nvramPath: files.nvramPath(nvram?.id ?? id) }
}

/** Makes what a VM has besides disks at its first start: the variables of its UEFI, and the directory of its TPM. */
export async function ensurePlatform(
  seat: Seat,
  { spec, firmware: image }: { readonly spec: VmSpec; readonly firmware: FirmwareImage | undefined },
  { files }: Ports,
): Promise<void> {
  const { id, nvram, uid } = seat.record
  if (spec.devices.tpm) await files.ensureTpm(id, uid + 1) // The user of its helpers (ports/emulators.ts).
  if (image === undefined || nvram) return
  await files.ensureNvram(id, image.template)
  seat.update({ nvram: { id, executable: image.executable } })
}

/** The directory of a VM's TPM; undefined without one. `file-not-found` where the host has no program for it. */
export function tpmDirectoryOf(
  { id, name }: Pick<VmRecord, 'id' | 'name'>,
  spec: VmSpec,
  { host, files }: Ports,
): string | undefined {
  if (!spec.devices.tpm) return undefined
  if (host.hasSwtpm()) return files.tpmDirectory(id)
  throw new KvasirError(
    'file-not-found',
    `VM ${name} has a TPM, and this host has no swtpm to be it, so it cannot start; install the package swtpm.`,
    { details: { field: 'devices.tpm' } },
  )
}

/** The variables that VMs and snapshots have. */
export function knownNvrams({ vms, snapshots }: Store): ReadonlySet<string> {
  const ofVms = vms.list().flatMap((row) => (row.kind === 'vm' ? (row.record.nvram?.id ?? []) : []))
  return new Set([...ofVms, ...snapshots.list().flatMap(({ nvramId }) => nvramId ?? [])])
}
