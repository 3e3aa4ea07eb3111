/**
 * A TPM 2.0: swtpm is it, in a process of its own, and QEMU hands it what the guest writes to the registers of a CRB (QEMU:
 * docs/specs/tpm.rst). Both have one end of a connected socket; QEMU opens the second channel itself and passes it through the first.
 */
import { KvasirError } from '@kvasir/contract'
import type { BuildContext } from './build-context.ts'
import type { EmulatorPlan } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption } from './options.ts'

/** The id of its socket in QEMU. */
export const tpmId = 'tpm'

/** The arguments for the TPM. Refuses one on a microvm, whose ACPI tells of none. */
export function tpmArgs({ input, descriptors }: BuildContext): readonly string[] {
  if (!input.spec.devices.tpm) return []
  if (input.spec.machine.type !== 'q35') {
    throw new KvasirError(
      'unsupported',
      `VM ${input.name} is a microvm, which has no TPM, so it cannot start.`,
      {
        details: { field: 'devices.tpm' },
      },
    )
  }
  const fd = descriptors.add({ kind: 'tpm' })
  return [
    '-chardev',
    `socket,id=${tpmId},fd=${fd}`,
    '-tpmdev',
    `emulator,id=tpm,chardev=${tpmId}`,
    ...jsonOption('-device', { driver: 'tpm-crb', id: 'tpm0', tpmdev: 'tpm' }),
  ]
}

/** What its process needs. */
export function tpmPlan({ spec, tpmDirectory }: HardwareInput): EmulatorPlan['tpm'] {
  return spec.devices.tpm && tpmDirectory !== undefined ? { stateDirectory: tpmDirectory } : undefined
}
