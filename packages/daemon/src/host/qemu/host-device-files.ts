/**
 * What an emulator sees of the devices of the host that it is given: the nodes of their groups, and a folder for each that names its group.
 *
 * Both lie in folders of the emulator's own, which root makes and fills, also while it runs. They are laid over /dev/vfio and /devices of its
 * cage wherever a device could be handed to it, so what comes later is there without a mount.
 */
import { chmod, chown, mkdir, readdir, readlink, rm, symlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { runCommand } from '@kvasir/linux'
import { hostDeviceDirectory } from '../../model/qemu/emulator-plan.ts'
import type { LentDevice } from '../devices/device-desk.ts'
import type { EmulatorBind, EmulatorPaths } from './runtime-directory.ts'

export const vfioDirectory = '/dev/vfio'
/** The node of all groups together (kernel: Documentation/admin-guide/devices.txt). */
const containerNode = { name: 'vfio', major: 10, minor: 196 }
const nodeTimeoutMs = 10_000

type Folders = Pick<EmulatorPaths, 'devices' | 'vfio'>

/** Makes both folders, empty. */
export async function makeDeviceFolders({ devices, vfio }: Folders): Promise<void> {
  for (const folder of [devices, vfio]) {
    await rm(folder, { recursive: true, force: true })
    await openFolder(folder)
  }
}

/** What is laid over places of the cage. */
export function vfioBinds({ devices, vfio }: Folders): readonly EmulatorBind[] {
  return [
    { source: devices, place: hostDeviceDirectory, writable: false },
    { source: vfio, place: vfioDirectory, writable: false, device: true },
  ]
}

/** Lets the emulator's user open what was lent. QEMU takes the folders for those of /sys, and reads a link's last word. Safe to repeat. */
export async function showDevices(
  lent: readonly LentDevice[],
  { devices, vfio, uid }: Folders & { readonly uid: number },
): Promise<void> {
  if (lent.length > 0) await makeNode(vfio, containerNode, uid)
  for (const { address, group, node } of lent) {
    await makeNode(vfio, { name: group, ...node }, uid)
    await hideFolder(devices, address)
    await openFolder(join(devices, address))
    await symlink(`groups/${group}`, join(devices, address, 'iommu_group'))
  }
}

/** Takes the folder of a device away, and the node of its group with the last of that. Safe to repeat. */
export async function hideDevice(address: string, { devices, vfio }: Folders): Promise<void> {
  const group = await groupIn(devices, address)
  await hideFolder(devices, address)
  const rest = await readdir(devices).catch(() => [])
  const groups = await Promise.all(rest.map((other) => groupIn(devices, other)))
  if (group !== undefined && !groups.includes(group)) await rm(join(vfio, group), { force: true })
}

/** The nodes that an emulator may have open, as it names them. */
export async function nodesShown({ vfio }: Pick<Folders, 'vfio'>): Promise<readonly string[]> {
  const names = await readdir(vfio).catch(() => [])
  return names.map((name) => join(vfioDirectory, name))
}

async function groupIn(devices: string, address: string): Promise<string | undefined> {
  const link = await readlink(join(devices, address, 'iommu_group')).catch(() => undefined)
  return link === undefined ? undefined : basename(link)
}

async function hideFolder(devices: string, address: string): Promise<void> {
  await rm(join(devices, address), { recursive: true, force: true })
}

async function makeNode(
  folder: string,
  { name, major, minor }: { readonly name: string; readonly major: number; readonly minor: number },
  uid: number,
): Promise<void> {
  const path = join(folder, name)
  await rm(path, { force: true })
  await runCommand(['mknod', '-m', '0600', path, 'c', String(major), String(minor)], {
    timeoutMs: nodeTimeoutMs,
  })
  await chown(path, uid, uid)
}

/** A folder that the emulator's user may look into, whatever the daemon's umask. */
async function openFolder(path: string): Promise<void> {
  await mkdir(path)
  await chmod(path, 0o755)
}
