/** The devices of one QEMU by their ids, over QMP: which are there, and the guest being asked to let go of one. */
import { type QmpClient, QmpError } from '@kvasir/qmp'

/** The ids of all devices that have one. A device is there until the guest has let go of it. */
export async function deviceIds(monitor: QmpClient): Promise<readonly string[]> {
  const all = await monitor.execute('qom-list', { path: '/machine/peripheral' })
  return all.map(({ name }) => name)
}

/** Asks for a device. That it is gone, or asked for already, is no error. */
export async function askToLetGo(monitor: QmpClient, id: string): Promise<void> {
  await monitor.execute('device_del', { id }).catch((error: unknown) => {
    const isMissing = error instanceof QmpError && error.class === 'DeviceNotFound'
    const isAsked = error instanceof QmpError && error.message.includes('already in the process of unplug')
    if (!isMissing && !isAsked) throw error
  })
}
