/** The limits of a disk as QEMU takes them on the device of a disk (QMP: block_set_io_throttle); 0 is no limit. */
import { type DiskThrottle, throttleRates } from '@kvasir/contract'
import { nameToken } from './ids.ts'

/** QEMU's names of the limits. */
const qemuNames = {
  iops: 'iops',
  iopsRead: 'iops_rd',
  iopsWrite: 'iops_wr',
  bytes: 'bps',
  bytesRead: 'bps_rd',
  bytesWrite: 'bps_wr',
} as const satisfies Record<(typeof throttleRates)[number], string>

/** All limits, those that are none too, so that nothing of former ones is left. */
export function throttleLimits(throttle: DiskThrottle | undefined): Readonly<Record<string, number>> {
  const limits: Record<string, number> = {}
  for (const rate of throttleRates) {
    const name = qemuNames[rate]
    const burst = throttle?.burst?.[rate]
    limits[name] = throttle?.[rate] ?? 0
    limits[`${name}_max`] = burst ?? 0
    limits[`${name}_max_length`] = burst === undefined ? 1 : (throttle?.burstSeconds ?? 1)
  }
  return limits
}

/** The group that a disk is throttled in: one that it shares, or its own. A kind without a dash tells the two apart. */
export function throttleGroup(disk: string, throttle: DiskThrottle | undefined): string {
  return throttle?.group === undefined ? `own-${nameToken(disk)}` : `shared-${nameToken(throttle.group)}`
}
