/**
 * Limits of the disks of a running QEMU.
 *
 * They belong to the device's own back end, above all block nodes: so layers come and go under them, a disk without limits has nothing in
 * its way, and no command line names them. QEMU is asked first what it has, so that giving them again disturbs nothing.
 */
import type { DiskThrottle } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { deviceId } from '../../model/qemu/ids.ts'
import { throttleGroup, throttleLimits } from '../../model/qemu/throttle.ts'

/** Sets what differs. A disk that QEMU does not have is left out. */
export async function throttleDisks(
  monitor: QmpClient,
  wanted: ReadonlyMap<string, DiskThrottle | undefined>,
): Promise<void> {
  const blocks = await monitor.execute('query-block')
  for (const [disk, throttle] of wanted) {
    const block = blocks.find(({ qdev }) => qdev?.split('/').includes(deviceId('disk', disk)))
    const now = block?.inserted
    if (now === undefined) continue
    const limits = throttleLimits(throttle)
    const group = throttleGroup(disk, throttle)
    if (isAlready({ ...now }, limits, throttle === undefined ? undefined : group)) continue
    // Of a virtio device QEMU throttles the part behind its PCI function, which has a path and no id of its own.
    await monitor.executeUntyped('block_set_io_throttle', { id: block?.qdev ?? '', ...limits, group })
  }
}

/** What QEMU does not mention is no limit, and a burst of one second. */
function isAlready(
  now: Readonly<Record<string, unknown>>,
  limits: Readonly<Record<string, number>>,
  group: string | undefined,
): boolean {
  if (group !== undefined && now['group'] !== group) return false
  return Object.entries(limits).every(([name, value]) => {
    const unset = name.endsWith('_length') ? 1 : 0
    return (now[name] ?? unset) === value
  })
}
