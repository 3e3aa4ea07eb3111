/**
 * Another medium for a CD-ROM drive of a guest that runs: the old one out, the row says that the drive is empty, the new one in.
 *
 * The row follows QEMU at every step, and doing it again anywhere goes on from there: a drive that holds what it should is left as it is.
 */
import type { DiskSpec } from '@kvasir/contract'
import { planDisk } from '../../model/qemu/disk.ts'
import { hasSameMedium } from '../../model/vm/disk-rules.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import { withDriveHolding } from './moved-disks.ts'
import { withoutMoving } from './names-to-move.ts'
import { diskBackings, diskInput } from './prepare-start.ts'

/** Brings a drive to what the spec says. `guest-refused` while the guest keeps its tray locked. Answers what was done. */
export async function changeMedium(
  seat: Seat,
  { there, disk }: { readonly there: DiskSpec; readonly disk: DiskSpec },
  { emulator, ports }: { readonly emulator: Emulator; readonly ports: Ports },
): Promise<string> {
  const { name } = disk
  const keep = (holder: DiskSpec | undefined) => {
    const { run } = seat.record
    if (run) seat.update({ run: withDriveHolding(run, { drive: name, holder, emulator: emulator.record }) })
  }
  if (!hasSameMedium(there, disk)) {
    await ports.failpoint('vm.medium.before-change')
    const plan = planDisk(await diskInput(seat.record, disk, ports), name)
    await emulator.disks.changeMedium(plan, {
      gone: filesOf(there, ports),
      onEmpty: async () => {
        try {
          await ports.failpoint('vm.medium.after-eject')
        } finally {
          keep(undefined)
        }
      },
    })
    await ports.failpoint('vm.medium.after-change')
    keep(disk)
  }
  const { run } = seat.record
  if (run) seat.update({ run: withoutMoving(run, 'movingDisks', name) })
  const medium = disk.volume ?? disk.file
  return medium === undefined ? `Drive ${name} is empty.` : `Drive ${name} holds ${medium}.`
}

/** The files of what a drive holds; none where that is gone meanwhile. */
function filesOf(drive: DiskSpec, ports: Ports): readonly string[] {
  if (drive.volume !== undefined && !ports.store.volumes.find(drive.pool, drive.volume)) return []
  const [backing] = diskBackings({ disks: [drive] }, ports)
  return (backing?.chain ?? []).flatMap((source) => (source.kind === 'protocol' ? [] : source.path))
}
