/** What an emulator sees of the devices of the host that it is given: the nodes of their groups, and a folder for each that names its group. */
import { chmod, mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { hostDeviceDirectory } from '../../model/qemu/emulator-plan.ts'
import { vfioPlace } from '../cage/root-template.ts'
import type { LentDevice } from '../devices/device-desk.ts'
import type { EmulatorBind, EmulatorPaths } from './runtime-directory.ts'

/** Makes the folders that QEMU takes for those of /sys: of each it asks which group it is in, by a link's last word. */
export async function describeToEmulator(
  lent: readonly LentDevice[],
  { devices }: Pick<EmulatorPaths, 'devices'>,
): Promise<void> {
  if (lent.length === 0) return
  const groups = groupsOf(lent)
  await rm(devices, { recursive: true, force: true })
  await openFolder(devices)
  for (const { address, group } of lent) {
    await openFolder(join(devices, address))
    await symlink(`groups/${groups.indexOf(group)}`, join(devices, address, 'iommu_group'))
  }
}

/** A folder that the emulator's user may look into, whatever the daemon's umask. */
async function openFolder(path: string): Promise<void> {
  await mkdir(path)
  await chmod(path, 0o755)
}

/** What is laid over places of the cage, each group once. */
export function vfioBinds(
  lent: readonly LentDevice[],
  { devices }: Pick<EmulatorPaths, 'devices'>,
): readonly EmulatorBind[] {
  if (lent.length === 0) return []
  const node = { writable: false, device: true } as const
  return [
    { source: devices, place: hostDeviceDirectory, writable: false },
    { source: '/dev/vfio/vfio', place: '/dev/vfio/vfio' as const, ...node },
    ...groupsOf(lent).map((group, index) => ({
      source: join('/dev/vfio', group),
      place: vfioPlace(index),
      ...node,
    })),
  ]
}

function groupsOf(lent: readonly LentDevice[]): readonly string[] {
  return [...new Set(lent.map(({ group }) => group))]
}
