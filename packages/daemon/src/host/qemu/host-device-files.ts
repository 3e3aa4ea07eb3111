/**
 * What an emulator sees of the devices of the host that it is given: the nodes of their groups, and a folder for each that names its group.
 *
 * Both lie in folders of the emulator's own, which root makes and fills, also while it runs. They are laid over /dev/vfio and /devices of its
 * cage wherever a device could be handed to it, so what comes later is there without a mount.
 */
import { constants } from 'node:fs'
import { chmod, chown, mkdir, open, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { runCommand } from '@kvasir/linux'
import { hostDeviceDirectory } from '../../model/qemu/emulator-plan.ts'
import { romName } from '../../model/qemu/host-devices.ts'
import type { LentDevice } from '../devices/device-desk.ts'
import type { EmulatorBind, EmulatorPaths } from './runtime-directory.ts'

export const vfioDirectory = '/dev/vfio'
/** The node of all groups together (kernel: Documentation/admin-guide/devices.txt). */
const containerNode = { name: 'vfio', major: 10, minor: 196 }
const nodeTimeoutMs = 10_000
/** The biggest window for a ROM that a device can ask for (PCI 3.0, section 6.2.5.2). */
const mostRomBytes = 16 * 2 ** 20

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
  {
    devices,
    vfio,
    uid,
    roms = {},
  }: Folders & { readonly uid: number; readonly roms?: Readonly<Record<string, string>> | undefined },
): Promise<void> {
  if (lent.length > 0) await makeNode(vfio, containerNode, uid)
  for (const { address, group, node } of lent) {
    await makeNode(vfio, { name: group, ...node }, uid)
    await hideFolder(devices, address)
    await openFolder(join(devices, address))
    await symlink(`groups/${group}`, join(devices, address, 'iommu_group'))
    const rom = roms[address]
    if (rom !== undefined) await copyRom(rom, join(devices, address, romName))
  }
}

/** QEMU opens a ROM by its path, so it gets a copy. What is none is refused: `bad-request`. */
async function copyRom(from: string, to: string): Promise<void> {
  await using file = await open(from, constants.O_RDONLY | constants.O_NONBLOCK)
  const facts = await file.stat()
  const no = (why: string) =>
    new KvasirError(
      'bad-request',
      `The file ${from} is not the ROM of a device (it ${why}), so no guest gets it.`,
    )
  if (!facts.isFile() || facts.size > mostRomBytes) throw no('is no file, or too big for one')
  const bytes = await file.readFile()
  if (bytes[0] !== 0x55 || bytes[1] !== 0xaa) throw no('does not begin with 55 AA')
  await writeFile(to, bytes, { mode: 0o644 })
  await chmod(to, 0o644)
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
