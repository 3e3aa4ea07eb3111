/** Which small devices come or go by a change, and what a run is once one has. */
import type { VmSpec } from '@kvasir/contract'
import { hasUsb } from '../../model/pci/layout.ts'
import type { Hardware } from '../../model/qemu/hardware.ts'
import {
  deviceWish,
  isSmallDevice,
  type SmallDevice,
  smallDevices,
  withDeviceOf,
  withoutDevice,
} from '../../model/qemu/small-devices.ts'
import { devicePaths, letsControllerGo, movedSmallDevices } from '../../model/vm/device-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The devices that are to be plugged or taken away now; with the first on USB comes the controller, with the last it goes. */
export function devicesToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  const names = namesToMove(record, wanted, {
    field: 'movingDevices',
    moved: movedSmallDevices,
    fieldsOf: deviceFields,
  })
  const { bootedSpec, bootedHardware } = record.run ?? {}
  if (names.includes('usb') || !bootedSpec || !bootedHardware) return names
  const isThere = Object.hasOwn(bootedHardware.pci, 'usb')
  const has = (spec: VmSpec) =>
    names.some((name) => isSmallDevice(name) && deviceWish(spec, name)?.on === 'usb')
  if (!isThere && has(wanted.spec)) return ['usb', ...names]
  return isThere && has(bootedSpec) && letsControllerGo(bootedSpec, wanted.spec) ? [...names, 'usb'] : names
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
      ? {
          bootedHardware: {
            ...bootedHardware,
            pci: { ...bootedHardware.pci, [device]: address },
            ...(device === 'vsock' ? { vsockCid: hardware.vsockCid } : {}),
          },
        }
      : {}),
  }
}

/** The run after a device has gone, whether the spec has it or not. The USB controller stays when one goes that is on it, and takes along what is. */
export function withoutGoneDevice(
  run: VmRun,
  { name, emulator }: { readonly name: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const left = withoutMoving(run, 'movingDevices', name)
  if (!isSmallDevice(name)) return left
  const { bootedSpec, bootedHardware } = left
  const isOnUsb = (one: SmallDevice) => deviceWish(bootedSpec, one)?.on === 'usb'
  const gone = [name, ...(name === 'usb' ? smallDevices.filter(isOnUsb) : [])]
  const devices = gone.reduce(withoutDevice, bootedSpec.devices)
  const hasController = bootedHardware ? Object.hasOwn(bootedHardware.pci, 'usb') : hasUsb(bootedSpec.devices)
  const { [name]: _free, ...pci } = bootedHardware?.pci ?? {}
  return {
    ...left,
    emulator,
    bootedSpec: {
      ...bootedSpec,
      devices: hasController && name !== 'usb' ? { ...devices, usb: true } : devices,
    },
    ...(bootedHardware
      ? {
          bootedHardware: {
            ...keptPorts(bootedHardware),
            pci,
            ...(name === 'vsock' ? { vsockCid: undefined } : {}),
          },
        }
      : {}),
  }
}
