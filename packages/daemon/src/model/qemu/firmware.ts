/**
 * Firmware: SeaBIOS comes with QEMU and needs no arguments. UEFI will put its code and variable flash devices here.
 */
import { KvasirError } from '@kvasir/contract'
import type { HardwareInput } from './hardware.ts'

/** The arguments for the firmware. Refuses what cannot be combined. */
export function firmwareArgs(input: HardwareInput): readonly string[] {
  if (input.spec.machine.firmware === 'uefi') {
    throw new KvasirError(
      'unsupported',
      `VM ${input.name} asks for UEFI, which this version does not provide, so it cannot start.`,
      { details: { field: 'machine.firmware' } },
    )
  }
  return []
}
