/** What a run is once the entropy device, the watchdog, the pointer or the keyboard has come or gone. */
import type { VmSpec } from '@kvasir/contract'
import { hasUsb } from '../../model/pci/layout.ts'
import type { Hardware } from '../../model/qemu/hardware.ts'
import {
  isSmallDevice,
  type SmallDevice,
  withDeviceOf,
  withoutDevice,
} from '../../model/qemu/small-devices.ts'
import { devicePaths, movedSmallDevices } from '../../model/vm/device-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The devices that are to be plugged or taken away now. */
export function devicesToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  return namesToMove(record, wanted, {
    field: 'movingDevices',
    moved: movedSmallDevices,
    fieldsOf: deviceFields,
  })
}

/** The fields of a plan by which a device comes or goes. */
export function deviceFields(name: string): readonly string[] {
  return isSmallDevice(name) ? devicePaths(name) : []
}

/** The run after a device of a spec has come. */
export function withPluggedDevice(
  run: VmRun,
  came: {
    readonly device: SmallDevice
    readonly spec: VmSpec
    readonly hardware: Hardware
    readonly emulator: VmRun['emulator']
  },
): VmRun {
  const { device, spec, hardware, emulator } = came
  const left = withoutGoneDevice(run, { name: device, emulator })
  const { bootedSpec, bootedHardware } = left
  const address = hardware.pci[device]
  return {
    ...left,
    bootedSpec: { ...bootedSpec, devices: withDeviceOf(bootedSpec.devices, device, spec.devices) },
    ...(bootedHardware && address
      ? { bootedHardware: { ...bootedHardware, pci: { ...bootedHardware.pci, [device]: address } } }
      : {}),
  }
}

/** The run after a device has gone, whether the spec has it or not. The USB controller that it was on stays until the next boot. */
export function withoutGoneDevice(
  run: VmRun,
  { name, emulator }: { readonly name: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const left = withoutMoving(run, 'movingDevices', name)
  if (!isSmallDevice(name)) return left
  const { bootedSpec, bootedHardware } = left
  const devices = withoutDevice(bootedSpec.devices, name)
  const { [name]: _free, ...pci } = bootedHardware?.pci ?? {}
  return {
    ...left,
    emulator,
    bootedSpec: { ...bootedSpec, devices: hasUsb(bootedSpec.devices) ? { ...devices, usb: true } : devices },
    ...(bootedHardware ? { bootedHardware: { ...keptPorts(bootedHardware), pci } } : {}),
  }
}
