/** What a run is once a share has come or gone. */
import type { ShareSpec } from '@kvasir/contract'
import type { Hardware } from '../../model/qemu/hardware.ts'
import { shareId } from '../../model/qemu/shares.ts'
import { movedShares } from '../../model/vm/share-rules.ts'
import type { VmRecord, VmRun } from '../../ports/store.ts'
import { keptPorts } from './moved-disks.ts'
import { withoutLoss } from './moved-nics.ts'
import { namesToMove, type WantedMove, withoutMoving } from './names-to-move.ts'

/** The shares that are to be plugged or taken away now. */
export function sharesToMove(record: VmRecord, wanted: WantedMove): readonly string[] {
  const fieldsOf = (name: string) => [shareField(name)]
  return namesToMove(record, wanted, { field: 'movingShares', moved: movedShares, fieldsOf })
}

/** The field of a plan by which a share comes or goes. */
export function shareField(name: string): string {
  return `shares.${name}`
}

/** The run after a share of the spec has come. */
export function withPluggedShare(
  run: VmRun,
  came: { readonly share: ShareSpec; readonly hardware: Hardware; readonly emulator: VmRun['emulator'] },
): VmRun {
  const { share, hardware, emulator } = came
  const slot = shareId(share.name)
  const address = hardware.pci[slot]
  const left = withoutGoneShare(run, { name: share.name, emulator })
  const { bootedSpec, bootedHardware } = left
  return {
    ...withoutLoss(left, shareField(share.name)),
    bootedSpec: { ...bootedSpec, shares: [...bootedSpec.shares, share] },
    ...(bootedHardware && address
      ? { bootedHardware: { ...bootedHardware, pci: { ...bootedHardware.pci, [slot]: address } } }
      : {}),
  }
}

/** The run after a share has gone, whether the spec has it or not. */
export function withoutGoneShare(
  run: VmRun,
  gone: { readonly name: string; readonly emulator: VmRun['emulator'] },
): VmRun {
  const left = withoutMoving(run, 'movingShares', gone.name)
  const { bootedSpec, bootedHardware } = left
  const { [shareId(gone.name)]: _free, ...pci } = bootedHardware?.pci ?? {}
  return {
    ...left,
    emulator: gone.emulator,
    bootedSpec: { ...bootedSpec, shares: bootedSpec.shares.filter(({ name }) => name !== gone.name) },
    ...(bootedHardware ? { bootedHardware: { ...keptPorts(bootedHardware), pci } } : {}),
  }
}
