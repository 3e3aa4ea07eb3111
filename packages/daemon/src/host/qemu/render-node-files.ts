/**
 * What an emulator with 3D sees of the host's GPU: its render node, and what the kernel says of the device behind it.
 *
 * Both lie in folders of the emulator's own, which are laid over /dev/dri and /sys of its cage. The node is a second one with the
 * numbers of the host's, so that the emulator's user may open it and nobody else's rights change. /sys is no mount of the kernel's but a
 * copy of the few files by which libdrm tells Mesa which driver to load (libdrm: xf86drm.c, drmGetDevice2: the device of a node's numbers, its
 * bus, and the ids of it): a GPU in its own place among its bridges, and nothing of any other device.
 */
import type { Stats } from 'node:fs'
import {
  chmod,
  chown,
  mkdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { KvasirError } from '@kvasir/contract'
import { runCommand } from '@kvasir/linux'
import type { EmulatorBind, EmulatorPaths } from './runtime-directory.ts'

const nodeTimeoutMs = 10_000
const mostBytes = 4096
/** The files of a device that libdrm reads (xf86drm.c: drmParsePciDeviceInfo, sysfs_uevent_get). */
const shownFiles = ['uevent', 'vendor', 'device', 'subsystem_vendor', 'subsystem_device', 'revision']

type Folders = Pick<EmulatorPaths, 'dri' | 'sys'>

/** What is laid over places of the cage. */
export function renderBinds({ dri, sys }: Folders): readonly EmulatorBind[] {
  return [
    { source: dri, place: '/dev/dri', writable: false, device: true },
    { source: sys, place: '/sys', writable: false },
  ]
}

/** Makes both folders for a render node of the host. `unsupported` when there is none by that path any more. */
export async function showRenderNode(
  path: string,
  { dri, sys, uid }: Folders & { readonly uid: number },
): Promise<void> {
  const numbers = await numbersOf(path)
  for (const folder of [dri, sys]) await rm(folder, { recursive: true, force: true })
  await openFolder(dri)
  const node = join(dri, basename(path))
  await runCommand(['mknod', '-m', '0600', node, 'c', String(numbers.major), String(numbers.minor)], {
    timeoutMs: nodeTimeoutMs,
  })
  await chown(node, uid, uid)
  await copyDevice(`${numbers.major}:${numbers.minor}`, sys)
}

async function numbersOf(path: string): Promise<{ readonly major: number; readonly minor: number }> {
  const found: Stats | undefined = await stat(path).catch(() => undefined)
  if (!found?.isCharacterDevice())
    throw new KvasirError('unsupported', `The host has no render node ${path} any more, so nothing renders.`)
  // As Linux packs them in user space (sys/sysmacros.h), for numbers of these sizes.
  return { major: (found.rdev >>> 8) & 0xfff, minor: (found.rdev & 0xff) | ((found.rdev >>> 12) & 0xfff00) }
}

/** The device of a node as /sys shows it: the same folders and links, with the few files that are asked for. One of virtio has its ids above it. */
async function copyDevice(numbers: string, sys: string): Promise<void> {
  const place = await realpath(`/sys/dev/char/${numbers}`)
  const inCopy = (path: string) => join(sys, path.slice('/sys/'.length))
  await openFolder(inCopy(place))
  const links = join(sys, 'dev/char')
  await openFolder(links)
  await symlink(join('../..', place.slice('/sys/'.length)), join(links, numbers))
  const target = await readlink(join(place, 'device'))
  await symlink(target, join(inCopy(place), 'device'))
  const device = await realpath(join(place, 'device'))
  const bus = await copyFiles(device, inCopy(device))
  if (bus === 'virtio') await copyFiles(dirname(device), inCopy(dirname(device)))
}

/** Copies what is told of one device; answers its bus. */
async function copyFiles(from: string, to: string): Promise<string | undefined> {
  const bus = await readlink(join(from, 'subsystem')).catch(() => undefined)
  if (bus !== undefined) await symlink(bus, join(to, 'subsystem'))
  for (const name of shownFiles) {
    const text = await readFile(join(from, name)).catch(() => undefined)
    if (text === undefined || text.length > mostBytes) continue
    await writeFile(join(to, name), text, { mode: 0o644 })
    await chmod(join(to, name), 0o644)
  }
  return bus === undefined ? undefined : basename(bus)
}

/** A folder with those above it, that the emulator's user may look into, whatever the daemon's umask. */
async function openFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) await chmod(folder, 0o755)
}
