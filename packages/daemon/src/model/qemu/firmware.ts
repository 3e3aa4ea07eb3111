/**
 * Firmware: SeaBIOS comes with QEMU and needs no arguments. UEFI is two flash devices: the image, which all VMs share, and the variables,
 * a file of the VM alone.
 */
import { formatBytes, KvasirError } from '@kvasir/contract'
import { bootMemoryBytes } from '../memory/plug-memory.ts'
import type { BuildContext } from './build-context.ts'
import type { HardwareInput } from './hardware.ts'
import { jsonOption } from './options.ts'

/** The block nodes of the two, which the machine names. */
export const firmwareNodes = { code: 'firmware', variables: 'nvram' } as const

/**
 * The least memory that a guest under UEFI boots with. Seen with Debian's OVMF 2022.11 and a kernel of 14 MB with an initrd of 4 MB: 128 MiB
 * faults inside OVMF, 144 MiB hangs, 160 MiB boots; with secure boot 192 MiB faults; 256 MiB boots with both.
 */
const leastUefiBytes = 256 * 2 ** 20

/** The arguments for the firmware. */
export function firmwareArgs({ input, descriptors }: BuildContext): readonly string[] {
  const files = requireFirmware(input)
  if (files === undefined) return []
  const code = descriptors.addSet(
    { kind: 'file', path: files.executable, access: 'read', direct: false },
    'firmware',
  )
  const variables = descriptors.addSet(
    { kind: 'file', path: files.nvramPath, access: 'read-write', direct: false },
    'nvram',
  )
  return [
    ...code.args,
    ...jsonOption('-blockdev', {
      driver: 'file',
      'node-name': firmwareNodes.code,
      filename: code.path,
      'read-only': true,
    }),
    ...variables.args,
    ...jsonOption('-blockdev', {
      driver: 'file',
      'node-name': firmwareNodes.variables,
      filename: variables.path,
      'read-only': false,
    }),
    // Only firmware in system management mode writes to it then, and the guest cannot change the keys (QEMU: hw/block/pflash_cfi01.c).
    ...(input.spec.machine.secureBoot ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : []),
  ]
}

/** The files of UEFI; undefined for a BIOS. Refuses where they are not known. */
function requireFirmware({ name, spec, hardware, firmware }: HardwareInput): HardwareInput['firmware'] {
  if (spec.machine.firmware === 'bios') return undefined
  if (spec.machine.type === 'q35' && firmware) {
    requireRoom(name, bootMemoryBytes(spec, hardware.plugMemory))
    return firmware
  }
  const why = firmware ? 'is a microvm, which has no UEFI' : 'has no UEFI image'
  throw new KvasirError('unsupported', `VM ${name} ${why}, so it cannot start.`, {
    details: { field: 'machine.firmware' },
  })
}

function requireRoom(name: string, bytes: number): void {
  if (bytes >= leastUefiBytes) return
  throw new KvasirError(
    'bad-request',
    `VM ${name} has UEFI and boots with ${formatBytes(bytes)} of memory, in which the firmware fails before its guest; give it ${formatBytes(leastUefiBytes)} (memory.size), or firmware bios.`,
    { details: { field: 'memory.size', bytes, leastBytes: leastUefiBytes } },
  )
}
