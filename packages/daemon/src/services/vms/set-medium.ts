/**
 * Puts another medium into a CD-ROM drive, or takes out the one that is there.
 *
 * It is a change of the spec. But the guest is asked to open the tray before anything is written down, so that one which keeps it
 * locked keeps its medium in the spec too.
 */
import { type DiskSpec, isCdrom, KvasirError, type VmSpec } from '@kvasir/contract'
import { changedDrives, withMedium } from '../../model/vm/disk-rules.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Context } from '../context.ts'
import { changeVm, planVm } from './change-vm.ts'
import { planVolumes } from './make-volumes.ts'

interface MediumWanted extends Pick<DiskSpec, 'volume' | 'pool' | 'file'> {
  readonly drive: string
  /** Opens a tray that the guest has locked. */
  readonly force: boolean
  readonly owner: string
}

/** Changes the medium; of a VM that runs, by a job. `guest-refused` when the guest has locked the tray. */
export async function setMedium(driver: Driver, wanted: MediumWanted, context: Context): Promise<void> {
  const { drive, force, owner } = wanted
  await changeVm(driver, ({ name, spec }) => specWith(spec, { vm: name, wanted }), context, {
    owner,
    before: async (seat, spec) => {
      // What does not go is refused while the tray is closed.
      await planVm({ name: seat.record.name, spec }, context)
      await planVolumes(spec, seat.record, context.ports)
      if (holdsAnother(seat, spec, drive)) await seat.emulator?.disks.openTray(drive, { force })
    },
  })
}

function specWith(
  spec: VmSpec,
  { vm, wanted }: { readonly vm: string; readonly wanted: MediumWanted },
): VmSpec {
  const { drive, volume, file, pool } = wanted
  const disk = spec.disks.find(({ name }) => name === drive)
  if (!disk || !isCdrom(disk))
    throw new KvasirError('bad-request', `VM ${vm} has no CD-ROM drive ${drive}.`, { details: { drive } })
  const medium = { ...disk, pool, volume, file }
  const disks = spec.disks.map((one) => (one === disk ? withMedium(disk, medium) : one))
  return { ...spec, disks }
}

/** Whether the guest has the drive, and something else is to be in it. */
function holdsAnother({ record }: Seat, spec: VmSpec, drive: string): boolean {
  const { run } = record
  return run !== undefined && changedDrives(run.bootedSpec, spec).includes(drive)
}
