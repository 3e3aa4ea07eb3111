/**
 * The small devices of one running QEMU over QMP: what is behind one, the device; and back again. A file of the host is opened here and sent beside
 * `getfd`; QEMU has it under a name until the device takes it.
 */
import { sendDescriptor } from '@kvasir/linux'
import { type QmpClient, QmpError } from '@kvasir/qmp'
import {
  behindDevice,
  isSmallDevice,
  type SmallDeviceFile,
  type SmallDevicePlan,
} from '../../model/qemu/small-devices.ts'
import type { EmulatorDevices } from '../../ports/emulator-devices.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import { openForGuest } from './open-descriptors.ts'
import { askToLetGo, deviceIds } from './peripherals.ts'

export interface QemuDevicesParts {
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly failpoint: Failpoints
}

export class QemuDevices implements EmulatorDevices {
  readonly #parts: QemuDevicesParts

  constructor(parts: QemuDevicesParts) {
    this.#parts = parts
  }

  async plug(plan: SmallDevicePlan): Promise<void> {
    const { name } = plan
    if ((await this.present([name])).length > 0) return
    await this.remove(name) // What an interrupted attempt left.
    try {
      await this.#make(plan)
    } catch (error) {
      // The next attempt begins with it. One that is there all the same keeps what is behind it.
      if ((await this.present([name])).length === 0) await this.remove(name).catch(() => {})
      throw error
    }
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    if (names.length === 0) return []
    const ids = await this.#parts.ask(deviceIds)
    return names.filter((name) => ids.includes(name))
  }

  async askFor(name: string): Promise<void> {
    await this.#parts.ask((monitor) => askToLetGo(monitor, name))
  }

  /** QEMU 7.2 removes an object that a device still has, so the device is to be gone. */
  async remove(name: string): Promise<void> {
    if (!isSmallDevice(name)) return
    const { objects: ids, files } = behindDevice(name)
    for (const file of files)
      await this.#parts.ask((monitor) =>
        monitor.execute('closefd', { fdname: nameOf(file) }).catch((error: unknown) => {
          if (!(error instanceof QmpError)) throw error // It has none of that name.
        }),
      )
    if (ids.length === 0) return
    await this.#parts.ask(async (monitor) => {
      const there = await monitor.execute('qom-list', { path: '/objects' })
      for (const id of ids)
        if (there.some((object) => object.name === id)) await monitor.execute('object-del', { id })
    })
  }

  async #make({ objects, files, device }: SmallDevicePlan): Promise<void> {
    const { ask, failpoint } = this.#parts
    for (const file of files) await ask((monitor) => pass(monitor, file))
    const given = Object.fromEntries(files.map((file) => [file.property, nameOf(file)]))
    // What the model planned is what QEMU's introspection names; its types are those of one version of it.
    for (const object of objects) await ask((monitor) => monitor.executeUntyped('object-add', { ...object }))
    await failpoint('emulator.plug-device.after-objects')
    await ask((monitor) => monitor.executeUntyped('device_add', { ...device, ...given }))
    await failpoint('emulator.plug-device.after-device')
  }
}

/** What QEMU calls a file that it is given. It reads a name that begins with a digit as a number of its own (QEMU: monitor/misc.c, monitor_fd_param). */
function nameOf({ property, path }: SmallDeviceFile): string {
  return `${property}-${path.slice(path.lastIndexOf('/') + 1)}`
}

async function pass(monitor: QmpClient, file: SmallDeviceFile): Promise<void> {
  await using opened = await openForGuest({ kind: 'device', path: file.path })
  await monitor.executeBeside('getfd', {
    args: { fdname: nameOf(file) },
    send: (socket, text) => sendDescriptor(socket, { text, descriptor: opened.fd }),
  })
}
