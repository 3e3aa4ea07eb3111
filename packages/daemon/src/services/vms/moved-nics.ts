/** What a run is once a NIC has come, gone, or another network. */
import type { NicSpec } from '@kvasir/contract'
import type { ChosenVf } from '../../model/devices/choose-vfs.ts'
import { nicsInUse } from '../../model/network/wires.ts'
import type { Hardware } from '../../model/qemu/hardware.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { movedNics } from '../../model/vm/nic-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The NICs that are to be plugged, taken away or moved now. */
export function nicsToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  return namesToMove(record, wanted, { field: 'movingNics', moved: movedNics, fieldsOf: movingFields })
}

/** The fields of a plan by which a NIC comes, goes or is moved. */
export function movingFields(nic: string): readonly string[] {
  return [`nics.${nic}`, `nics.${nic}.network`]
}

/**
 * The run once NICs are on their way. What its networks do for those that are there stays as it was: the spec of now may name others.
 */
export function withMovingNics(record: VmRecord, more: readonly string[]): Partial<VmRun> {
  const { run } = record
  if (!run || more.length === 0) return {}
  const nics = nicsInUse({ ...record, run: { bootedSpec: run.bootedSpec } })
  return {
    bootedSpec: { ...run.bootedSpec, nics: [...nics] },
    movingNics: [...new Set([...(run.movingNics ?? []), ...more])],
  }
}

/** The run after a NIC of the spec has come. */
export function withPluggedNic(
  run: VmRun,
  came: { readonly nic: NicSpec; readonly hardware: Hardware; readonly emulator: VmRun['emulator'] },
): VmRun {
  const { nic, hardware, emulator } = came
  const back = withoutLoss(withoutLoss(run, `nics.${nic.name}`), `taps.${nic.name}`)
  const slot = deviceId('nic', nic.name)
  const address = hardware.pci[slot]
  const { bootedHardware } = run
  return {
    ...withoutMoving(withNicOf(back, nic), 'movingNics', nic.name),
    emulator,
    ...(bootedHardware && address
      ? {
          bootedHardware: {
            ...keptPorts(bootedHardware),
            pci: { ...bootedHardware.pci, [slot]: address },
          },
        }
      : {}),
  }
}

/** The run in which a device is served: whoever did it before had ended. */
export function withoutLoss(run: VmRun, device: string): VmRun {
  if (run.lost === undefined) return run
  return { ...run, lost: run.lost.filter((one) => one.device !== device) }
}

/** The run in which a NIC is as a spec says. */
export function withNicOf(run: VmRun, nic: NicSpec): VmRun {
  const others = run.bootedSpec.nics.filter(({ name }) => name !== nic.name)
  return { ...run, bootedSpec: { ...run.bootedSpec, nics: [...others, nic] } }
}

/** The run once it is written down which virtual function a NIC is to be: before anything is done to it, so that no other VM gets it. */
export function withChosenVf(run: VmRun, nic: string, vf: ChosenVf): VmRun {
  const { bootedHardware } = run
  if (!bootedHardware) return run
  return { ...run, bootedHardware: { ...bootedHardware, vfs: { ...bootedHardware.vfs, [nic]: vf } } }
}

/** The run in which a NIC is no virtual function. */
export function withoutChosenVf(run: VmRun, nic: string): VmRun {
  const { bootedHardware } = run
  if (bootedHardware?.vfs?.[nic] === undefined) return run
  const { vfs, ...rest } = bootedHardware
  const { [nic]: _gone, ...left } = vfs
  const none = Object.keys(left).length === 0
  return { ...run, bootedHardware: none ? rest : { ...rest, vfs: left } }
}

/** The run after a NIC has gone, whether the spec has it or not. */
export function withoutGoneNic(
  run: VmRun,
  gone: { readonly nic: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const left = withoutChosenVf(withoutMoving(run, 'movingNics', gone.nic), gone.nic)
  const { bootedSpec, bootedHardware } = left
  const { [deviceId('nic', gone.nic)]: _free, ...pci } = bootedHardware?.pci ?? {}
  return {
    ...left,
    emulator: gone.emulator,
    bootedSpec: { ...bootedSpec, nics: bootedSpec.nics.filter(({ name }) => name !== gone.nic) },
    ...(bootedHardware ? { bootedHardware: { ...keptPorts(bootedHardware), pci } } : {}),
  }
}
