/**
 * What a run is once a disk has come or gone: the disks that there are now, their addresses, and the root ports as they were booted.
 */
import type { DiskSpec } from '@kvasir/contract'
import { portCount, slotOf } from '../../model/pci/layout.ts'
import type { Hardware } from '../../model/qemu/hardware.ts'
import { deviceId } from '../../model/qemu/ids.ts'
import { changedDrives, mediumPaths, movedDisks, withMedium } from '../../model/vm/disk-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The disks that are to be plugged or taken away now, and the drives whose medium is changed. */
export function disksToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  return namesToMove(record, wanted, {
    field: 'movingDisks',
    moved: (before, after) => [...movedDisks(before, after), ...changedDrives(before, after)],
    fieldsOf: (disk) => [`disks.${disk}`, ...mediumPaths(disk)],
  })
}

/** All disks that come or go from now on. */
export function allMoving({ movingDisks = [] }: VmRun, more: readonly string[]): readonly string[] {
  return [...new Set([...movingDisks, ...more])]
}

/** The run after a disk of the spec has come. */
export function withPluggedDisk(
  run: VmRun,
  came: { readonly disk: DiskSpec; readonly hardware: Hardware; readonly emulator: VmRun['emulator'] },
): VmRun {
  const { disk, hardware, emulator } = came
  const slot = slotOf(disk) ?? ''
  const address = hardware.pci[slot]
  const lun = hardware.luns?.[disk.name]
  const { bootedSpec, bootedHardware } = run
  return {
    ...withoutMoving(run, 'movingDisks', disk.name),
    emulator,
    bootedSpec: { ...bootedSpec, disks: [...without(bootedSpec.disks, disk.name), disk] },
    ...(bootedHardware && address
      ? {
          bootedHardware: {
            ...keptPorts(bootedHardware),
            pci: { ...bootedHardware.pci, [slot]: address },
            ...(lun === undefined ? {} : { luns: { ...bootedHardware.luns, [disk.name]: lun } }),
          },
        }
      : {}),
  }
}

/** The run after a drive holds another medium; `holder` is undefined while it holds none. */
export function withDriveHolding(
  run: VmRun,
  now: {
    readonly drive: string
    readonly holder: DiskSpec | undefined
    readonly emulator: VmRun['emulator']
  },
): VmRun {
  const { bootedSpec } = run
  const disks = bootedSpec.disks.map((disk) =>
    disk.name === now.drive ? withMedium(disk, now.holder) : disk,
  )
  return { ...run, emulator: now.emulator, bootedSpec: { ...bootedSpec, disks } }
}

/** The run after a disk has gone, whether the spec has it or not. */
export function withoutGoneDisk(
  run: VmRun,
  gone: { readonly disk: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const { bootedSpec, bootedHardware } = run
  const { [deviceId('disk', gone.disk)]: _free, ...pci } = bootedHardware?.pci ?? {}
  const { [gone.disk]: _lun, ...luns } = bootedHardware?.luns ?? {}
  return {
    ...withoutMoving(run, 'movingDisks', gone.disk),
    emulator: gone.emulator,
    bootedSpec: { ...bootedSpec, disks: without(bootedSpec.disks, gone.disk) },
    ...(bootedHardware
      ? {
          bootedHardware: {
            ...keptPorts(bootedHardware),
            pci,
            ...(bootedHardware.luns === undefined ? {} : { luns }),
          },
        }
      : {}),
  }
}

/** The number of ports follows from the addresses only until the first device comes or goes. */
export function keptPorts(hardware: Hardware): Hardware {
  return { ...hardware, ports: portCount(hardware) }
}

function without(disks: readonly DiskSpec[], name: string): DiskSpec[] {
  return disks.filter((disk) => disk.name !== name)
}
