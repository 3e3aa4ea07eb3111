/**
 * The devices of the host that one running QEMU has, over QMP: lent by their drivers, shown in its cage, locked memory allowed, the device; and
 * back again.
 *
 * The kernel locks all memory of the guest when the first device comes, in the thread that QEMU works with, so its monitor answers when that
 * is done. A driver takes a device back when QEMU has closed it, which the kernel waits for.
 */
import { KvasirError } from '@kvasir/contract'
import { runCommand } from '@kvasir/linux'
import type { QmpClient } from '@kvasir/qmp'
import type { HostDevicePlan } from '../../model/qemu/host-devices.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import type { EmulatorHostDevices } from '../../ports/emulator-host-devices.ts'
import type { Failpoints } from '../../ports/failpoints.ts'
import type { DeviceDesk } from '../devices/device-desk.ts'
import { hideDevice, showDevices, vfioDirectory } from './host-device-files.ts'
import { askToLetGo, deviceIds } from './peripherals.ts'
import type { EmulatorPaths, StoredEmulator } from './runtime-directory.ts'

/** How long a device may take to be reset and mapped. */
const deviceMs = 15_000
/** What the kernel locks of memory that nobody has touched yet, at least. */
const bytesPerMs = (16 * 2 ** 20) / 1000
const limitTimeoutMs = 10_000

export interface QemuHostDevicesParts {
  /** The id of the VM. */
  readonly id: string
  /** Works with the monitor of now, with the errors of the port. */
  readonly ask: <T>(work: (monitor: QmpClient) => Promise<T>) => Promise<T>
  readonly devices: DeviceDesk
  readonly paths: EmulatorPaths
  readonly record: () => StoredEmulator
  readonly failpoint: Failpoints
}

export class QemuHostDevices implements EmulatorHostDevices {
  readonly #parts: QemuHostDevicesParts

  constructor(parts: QemuHostDevicesParts) {
    this.#parts = parts
  }

  async plug(plan: HostDevicePlan): Promise<void> {
    if (await this.#has(plan)) return
    if (!this.#parts.record().cage.places.some(({ place }) => place === vfioDirectory))
      throw new KvasirError(
        'unsupported',
        'The emulator was started by a version, or on a host, that had no place in it for devices, so it gets none until its next start.',
      )
    try {
      await this.#hand(plan)
    } catch (error) {
      if (!(await this.#has(plan))) await this.remove(plan)
      throw error
    }
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    if (names.length === 0) return []
    const ids = await this.#parts.ask(deviceIds)
    return names.filter((name) => ids.includes(deviceId('host', name)))
  }

  async askFor(name: string): Promise<void> {
    await this.#parts.ask((monitor) => askToLetGo(monitor, deviceId('host', name)))
  }

  async remove({ address }: { readonly address: string }): Promise<void> {
    const { id, devices, paths } = this.#parts
    await devices.giveBack(id, address)
    await hideDevice(address, paths)
  }

  async #has({ device }: HostDevicePlan): Promise<boolean> {
    return (await this.#parts.ask(deviceIds)).some((id) => id === device['id'])
  }

  async #hand({ vm, address, device, romFile, vf, lockableBytes }: HostDevicePlan): Promise<void> {
    const { id, ask, devices, paths, record, failpoint } = this.#parts
    const { pid, uid } = record()
    const lent = await devices.lend({ id, name: vm }, [address], vf ? [vf] : [])
    await failpoint('emulator.plug-host-device.after-lend')
    await showDevices(lent, {
      ...paths,
      uid,
      roms: romFile === undefined ? {} : { [address]: romFile },
    })
    await failpoint('emulator.plug-host-device.after-nodes')
    await runCommand(['prlimit', `--pid=${pid}`, `--memlock=${lockableBytes}:${lockableBytes}`], {
      timeoutMs: limitTimeoutMs,
    })
    await failpoint('emulator.plug-host-device.after-limit')
    const timeoutMs = deviceMs + lockableBytes / bytesPerMs
    // What the model planned is what QEMU's introspection names; its types are those of one version of it.
    await ask((monitor) => monitor.executeUntyped('device_add', { ...device }, { timeoutMs }))
    await failpoint('emulator.plug-host-device.after-device')
  }
}
