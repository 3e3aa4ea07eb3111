/** Which disk of a running QEMU did not carry out a request. */
import type { QmpClient } from '@kvasir/qmp'
import type { EmulatorRecord, IoStatus } from '../../ports/emulators.ts'

/** Asks QEMU; want of space is told before anything else that failed. */
export async function readIoStatus(monitor: QmpClient, { ids }: EmulatorRecord['plan']): Promise<IoStatus> {
  const blocks = await monitor.execute('query-block')
  for (const kind of ['nospace', 'failed'] as const) {
    const block = blocks.find((one) => one['io-status'] === kind)
    if (block === undefined) continue
    const path = block.qdev?.split('/') ?? []
    const disk = Object.entries(ids.disks).find(([, { device }]) => path.includes(device))?.[0]
    return { kind, disk }
  }
  return { kind: 'ok' }
}
