/** What a run is once a device of the host was chosen for it, has come, or has gone. */
import type { HostDeviceSpec } from '@kvasir/contract'
import type { Hardware } from '../../model/qemu/hardware.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { movedHostDevices } from '../../model/vm/host-device-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The devices that are to be handed over or taken away now. */
export function hostDevicesToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  const fieldsOf = (name: string) => [hostDeviceField(name)]
  return namesToMove(record, wanted, { field: 'movingHostDevices', moved: movedHostDevices, fieldsOf })
}

/** The field of a plan by which a device comes or goes. */
export function hostDeviceField(name: string): string {
  return `hostDevices.${name}`
}

/** The run once it is written down which device it is: before anything is done to it, so that no other VM gets it. */
export function withChosenDevice(run: VmRun, name: string, address: string): VmRun {
  const { bootedHardware } = run
  if (!bootedHardware) return run
  const hostDevices = { ...bootedHardware.hostDevices, [name]: address }
  return { ...run, bootedHardware: { ...bootedHardware, hostDevices } }
}

/** The run without a device that did not come. */
export function withoutChosenDevice(run: VmRun, name: string): VmRun {
  const { bootedHardware } = run
  if (!bootedHardware) return run
  const { hostDevices = {}, ...rest } = bootedHardware
  const { [name]: _gone, ...left } = hostDevices
  const none = Object.keys(left).length === 0
  return { ...run, bootedHardware: none ? rest : { ...rest, hostDevices: left } }
}

/** The run after a device of the spec has come. */
export function withPluggedDevice(
  run: VmRun,
  came: {
    readonly device: HostDeviceSpec
    readonly hardware: Hardware
    readonly emulator: VmRun['emulator']
  },
): VmRun {
  const { device, hardware, emulator } = came
  const slot = deviceId('host', device.name)
  const address = hardware.pci[slot]
  const { bootedSpec, bootedHardware } = run
  const others = bootedSpec.hostDevices.filter(({ name }) => name !== device.name)
  return {
    ...withoutMoving(run, 'movingHostDevices', device.name),
    emulator,
    bootedSpec: { ...bootedSpec, hostDevices: [...others, device] },
    ...(bootedHardware && address
      ? {
          bootedHardware: { ...keptPorts(bootedHardware), pci: { ...bootedHardware.pci, [slot]: address } },
        }
      : {}),
  }
}

/** The run after a device has gone, whether the spec has it or not. */
export function withoutGoneDevice(
  run: VmRun,
  gone: { readonly name: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const left = withoutChosenDevice(withoutMoving(run, 'movingHostDevices', gone.name), gone.name)
  const { bootedSpec, bootedHardware } = left
  const { [deviceId('host', gone.name)]: _free, ...pci } = bootedHardware?.pci ?? {}
  return {
    ...left,
    emulator: gone.emulator,
    bootedSpec: {
      ...bootedSpec,
      hostDevices: bootedSpec.hostDevices.filter(({ name }) => name !== gone.name),
    },
    ...(bootedHardware ? { bootedHardware: { ...keptPorts(bootedHardware), pci } } : {}),
  }
}
