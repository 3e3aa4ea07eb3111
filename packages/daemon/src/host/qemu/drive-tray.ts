/**
 * The tray of a CD-ROM drive of a running QEMU, and the medium in it.
 *
 * A guest locks the tray while it has the medium mounted. QEMU then tells it that somebody pressed the button, answers at once, and
 * the tray opens when the guest does so (QMP: blockdev-open-tray). Each step asks first what there is, so each can be done again.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract'
import type { QmpClient } from '@kvasir/qmp'
import { deviceId } from '../../model/qemu/ids.ts'

/** How long a guest that locked the tray may take to open it. */
const guestTimeoutMs = 4_000
const lookMs = 100

/** Opens a tray, and waits for a guest that has locked it. `guest-refused` when it stays closed. */
export async function openTray(
  monitor: QmpClient,
  disk: string,
  { force }: { readonly force: boolean },
): Promise<void> {
  if ((await lookInto(monitor, disk)).isOpen) return
  await monitor.execute('blockdev-open-tray', { id: deviceId('disk', disk), force })
  const deadline = performance.now() + guestTimeoutMs
  while (!(await lookInto(monitor, disk)).isOpen) {
    if (performance.now() > deadline)
      throw new KvasirError(
        'guest-refused',
        `The guest has locked the tray of drive ${disk}, and did not open it when it was asked, so the medium stays. By force it is taken out all the same.`,
        { details: { disk } },
      )
    await pause(lookMs)
  }
}

/** Whether a drive holds a medium. */
export async function isLoaded(monitor: QmpClient, disk: string): Promise<boolean> {
  return (await lookInto(monitor, disk)).isLoaded
}

/** Takes the medium out of an open drive; its nodes stay. */
export async function takeMediumOut(monitor: QmpClient, disk: string): Promise<void> {
  if (!(await lookInto(monitor, disk)).isLoaded) return
  await monitor.execute('blockdev-remove-medium', { id: deviceId('disk', disk) })
}

/** Puts a node into an open, empty drive, and closes its tray. */
export async function putMediumIn(
  monitor: QmpClient,
  { disk, node }: { readonly disk: string; readonly node: string },
): Promise<void> {
  const id = deviceId('disk', disk)
  await openTray(monitor, disk, { force: false }) // The guest may have closed it.
  await monitor.execute('blockdev-insert-medium', { id, 'node-name': node })
  await monitor.execute('blockdev-close-tray', { id })
}

async function lookInto(monitor: QmpClient, disk: string) {
  const blocks = await monitor.execute('query-block')
  const drive = blocks.find(({ qdev }) => qdev?.split('/').includes(deviceId('disk', disk)))
  if (drive === undefined)
    throw new KvasirError(
      'emulator-failed',
      `The emulator has no drive ${disk}, so its medium is not changed.`,
    )
  return { isOpen: drive.tray_open === true, isLoaded: drive.inserted !== undefined }
}
