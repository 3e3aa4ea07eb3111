/** What a run is once a device of the host was chosen for it, has come, or has gone. */
import type { HostDeviceSpec, PlanChange, VmSpec } from '@kvasir/contract'
import { freePorts } from '../../model/pci/layout.ts'
import type { Hardware } from '../../model/qemu/hardware.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { movedHostDevices } from '../../model/vm/host-device-rules.ts'
import { planChanges } from '../../model/vm/plan-changes.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { withoutMoving } from './moving-kind.ts'
import { situationOf } from './situation.ts'

/** The devices that are to be handed over or taken away now: by this change, or because an earlier one did not get so far. */
export function hostDevicesToMove(
  record: VmRecord,
  wanted: {
    readonly spec: VmSpec
    readonly changes: readonly PlanChange[]
    /** Whether a job works on those that come or go. */
    readonly isUnderWay: boolean
    readonly ports: Pick<Ports, 'store'>
  },
): readonly string[] {
  const { run, spec } = record
  if (!run) return []
  const moved = (before: VmSpec, changes: readonly PlanChange[]) =>
    movedHostDevices(before, wanted.spec).filter((name) =>
      changes.some(({ effect, field }) => effect === 'live' && field === hostDeviceField(name)),
    )
  if (wanted.changes.length > 0) return moved(spec, wanted.changes)
  const ports = run.bootedHardware && freePorts(run.bootedHardware, run.bootedHardware)
  const situation = { ...situationOf(record, wanted.ports), freePorts: ports }
  const missing = moved(run.bootedSpec, planChanges(run.bootedSpec, wanted.spec, situation))
  return missing.filter((name) => !wanted.isUnderWay || run.movingHostDevices?.includes(name) !== true)
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
