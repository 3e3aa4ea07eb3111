/**
 * Limits of a disk: requests and bytes a second, in all or told apart by reads and writes, and how far a burst may go beyond them.
 *
 * A burst may reach `burst` a second for `burstSeconds`, after which the limit holds until the disk was idle for long enough (QEMU:
 * docs/throttle.txt). Disks of a VM that name one group share its limits, so they say the same ones.
 */
import { z } from 'zod'
import { resourceName } from './names.ts'
import { byteSize } from './units.ts'

/** The largest that QEMU counts with (include/qemu/throttle.h). */
const mostPerSecond = 1e15

const requests = z.int().min(1).max(mostPerSecond).optional()
const bytes = byteSize.refine((size) => size >= 1 && size <= mostPerSecond, 'is not a limit').optional()

const rates = {
  iops: requests,
  iopsRead: requests,
  iopsWrite: requests,
  bytes,
  bytesRead: bytes,
  bytesWrite: bytes,
}

/** The names of all limits. */
export const throttleRates = ['iops', 'iopsRead', 'iopsWrite', 'bytes', 'bytesRead', 'bytesWrite'] as const

/** The limits of a disk, each a second. */
export const diskThrottle = z
  .strictObject({
    ...rates,
    burst: z.strictObject(rates).optional(),
    burstSeconds: z.int().min(1).max(86_400).optional(),
    group: resourceName
      .optional()
      .meta({ description: 'Disks of this VM that name it share one set of limits.' }),
  })
  .refine((limits) => throttleRates.some((name) => limits[name] !== undefined), 'limits nothing')
  .refine(
    (limits) =>
      [limits, limits.burst ?? {}].every(
        (set) =>
          (set.iops === undefined || (set.iopsRead ?? set.iopsWrite) === undefined) &&
          (set.bytes === undefined || (set.bytesRead ?? set.bytesWrite) === undefined),
      ),
    'limits all requests and also reads or writes',
  )
  .refine(
    ({ burst = {}, ...limits }) =>
      throttleRates.every(
        (name) => burst[name] === undefined || burst[name] >= (limits[name] ?? Number.POSITIVE_INFINITY),
      ),
    'has a burst that is not above its limit',
  )
  .refine(
    ({ burst, burstSeconds }) => burstSeconds === undefined || burst !== undefined,
    'says how long a burst is, and has none',
  )
  .meta({ id: 'DiskThrottle' })

export type DiskThrottle = z.output<typeof diskThrottle>

/** Whether all disks that name one group say the same limits. */
export function sharesLimits(disks: readonly { readonly throttle?: DiskThrottle | undefined }[]): boolean {
  const groups = new Map<string, string>()
  return disks.every(({ throttle }) => {
    if (throttle?.group === undefined) return true
    const limits = JSON.stringify([
      throttleRates.map((name) => [throttle[name], throttle.burst?.[name]]),
      throttle.burstSeconds,
    ])
    const known = groups.get(throttle.group)
    groups.set(throttle.group, limits)
    return known === undefined || known === limits
  })
}
