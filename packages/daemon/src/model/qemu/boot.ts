/**
 * What the firmware boots: a kernel handed over directly, or the disks in an order.
 *
 * The kernel and initrd of the host are bound into the cage under fixed names, since QEMU cannot take them as descriptors.
 */
import { type DiskSpec, isCdrom, KvasirError } from '@kvasir/contract'
import type { Bind } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'

/** The arguments for booting. Refuses a microvm without a kernel: its firmware cannot read disks of PCIe. */
export function bootArgs(input: HardwareInput): readonly string[] {
  const policy = ['-boot', 'menu=off,strict=on']
  const { kernel } = input
  if (kernel === undefined) {
    if (input.spec.machine.type === 'microvm') {
      throw new KvasirError(
        'unsupported',
        `VM ${input.name} is a microvm without a kernel to boot directly, and microvm cannot boot from a disk, so it cannot start.`,
        { details: { field: 'boot.kernel' } },
      )
    }
    return policy
  }
  const cmdline = kernelCmdline(input, kernel.cmdline)
  return [
    ...policy,
    '-kernel',
    '/boot/kernel',
    ...(kernel.initrd === undefined ? [] : ['-initrd', '/boot/initrd']),
    ...(cmdline === '' ? [] : ['-append', cmdline]),
  ]
}

/**
 * The kernel command line. Linux on a microvm has no clock but its time stamp counter (no HPET, no ACPI timer, and with hardware-reduced
 * ACPI no interrupts of the PIT), and under TCG it must measure that against the PIT's counter. When the host is busy the measurement
 * fails and the guest waits for its first tick for ever (9 of 40 boots; told with `tsc_early_khz` of kernel-parameters.txt, 0 of 40).
 */
function kernelCmdline({ spec, accelerator, tscKhz }: HardwareInput, asked: string): string {
  const isTold = /(^| )tsc_early_khz=/.test(asked)
  if (spec.machine.type !== 'microvm' || accelerator !== 'tcg' || tscKhz === undefined || isTold) return asked
  // First, since what follows -- is for init.
  return `tsc_early_khz=${tscKhz} ${asked}`.trimEnd()
}

/** The files of the host that booting needs inside the cage. */
export function bootBinds(input: HardwareInput): readonly Bind[] {
  const { kernel } = input
  if (kernel === undefined) return []
  return [
    { source: kernel.path, target: '/boot/kernel' },
    ...(kernel.initrd === undefined
      ? []
      : [{ source: kernel.initrd, target: '/boot/initrd' } satisfies Bind]),
  ]
}

/**
 * The boot index of each disk by name, from 1, when the firmware boots from disks: those with a `bootOrder` first, then `root`,
 * then by name. A CD-ROM drive is before disks of the same order and after them without one. Empty with a direct kernel.
 */
export function bootIndexes(input: HardwareInput): ReadonlyMap<string, number> {
  if (input.kernel !== undefined) return new Map()
  const ordered = [...input.spec.disks].sort(
    (a, b) =>
      (a.bootOrder ?? Number.POSITIVE_INFINITY) - (b.bootOrder ?? Number.POSITIVE_INFINITY) ||
      driveRank(a) - driveRank(b) ||
      rank(a, b),
  )
  return new Map(ordered.map((disk, index) => [disk.name, index + 1]))
}

function driveRank(disk: DiskSpec): number {
  if (!isCdrom(disk)) return 0
  return disk.bootOrder === undefined ? 1 : -1
}

function rank(a: DiskSpec, b: DiskSpec): number {
  if (a.name === b.name) return 0
  if (a.name === 'root') return -1
  if (b.name === 'root') return 1
  return a.name < b.name ? -1 : 1
}
