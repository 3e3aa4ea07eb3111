/**
 * What one emulator has on the host: a directory that only root can enter, named by the VM's id, and in it sockets, pipes and two
 * small files. Logs lie elsewhere, since they outlive the emulator.
 *
 * Nothing that a VM can write is opened by root: `share` belongs to the VM only until it is sealed (host/cage/share.ts).
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { ListenerName } from '../../model/qemu/emulator-plan.ts'
import type { EmulatorRecord } from '../../ports/emulators.ts'
import { channelIds, diskIds } from '../../ports/vm-record.ts'

const uuidName = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The paths of one VM's emulator. */
export interface EmulatorPaths {
  readonly directory: string
  readonly share: string
  readonly record: string
  readonly launch: string
  readonly memo: string
  /** What was reserved for it of huge pages. */
  readonly pages: string
  /** The pipe of its TPM's log; there where it has a TPM. */
  readonly tpm: string
  /** What QEMU is told of the devices of the host that it is given. */
  readonly devices: string
  /** The nodes of their groups. */
  readonly vfio: string
  /** The render node that it draws on, and what is told of the GPU; there where it has 3D. */
  readonly dri: string
  readonly sys: string
  /** The servers that it may connect to. */
  readonly reach: string
  readonly emulatorLog: string
  readonly serialLog: string
  readonly logDirectory: string
  socket(name: ListenerName): string
}

/** The cgroup of a VM, below the daemon's. */
export function groupOf(id: string): string {
  return `vm-${id}`
}

/** The id of the VM whose cgroup has this name. */
export function idOfGroup(group: string): string | undefined {
  const id = group.replace(/^vm-/, '')
  return group.startsWith('vm-') && uuidName.test(id) ? id : undefined
}

/** The paths of an emulator. Refuses ids that are not UUIDs, so that no id can be a path. */
export function emulatorPaths(
  roots: { readonly runtimeDir: string; readonly logDir: string },
  id: string,
): EmulatorPaths {
  if (!uuidName.test(id)) throw new TypeError(`${JSON.stringify(id)} is not the id of a VM.`)
  const directory = join(roots.runtimeDir, 'vms', id)
  const logDirectory = join(roots.logDir, 'vms', id)
  return {
    directory,
    share: join(directory, 'share'),
    record: join(directory, 'emulator.json'),
    launch: join(directory, 'launch.json'),
    memo: join(directory, 'memo.json'),
    pages: join(directory, 'huge-pages.json'),
    tpm: join(directory, 'tpm'),
    devices: join(directory, 'devices'),
    vfio: join(directory, 'vfio'),
    dri: join(directory, 'dri'),
    sys: join(directory, 'sys'),
    reach: join(directory, 'reach'),
    logDirectory,
    emulatorLog: join(logDirectory, 'emulator.log'),
    serialLog: join(logDirectory, 'serial.log'),
    socket: (name) => join(directory, name),
  }
}

/** Makes the directories of an emulator, readable by root alone. */
export async function makeDirectories(paths: EmulatorPaths): Promise<void> {
  await Promise.all([
    mkdir(paths.directory, { recursive: true, mode: 0o700 }),
    mkdir(paths.logDirectory, { recursive: true, mode: 0o700 }),
  ])
}

/** The ids of all VMs that have a runtime directory. */
export async function listDirectories(runtimeDir: string): Promise<readonly string[]> {
  const names = await readdir(join(runtimeDir, 'vms')).catch(() => [])
  return names.filter((name) => uuidName.test(name))
}

/** Removes an emulator's runtime directory; its logs stay. */
export async function removeDirectory(paths: EmulatorPaths): Promise<void> {
  await rm(paths.directory, { recursive: true, force: true })
}

/** Writes a small file whole or not at all. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 })
  await rename(`${path}.new`, path)
}

/** Reads a small file; undefined when there is none. */
export async function readWhole(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(() => undefined)
}

const ids = z.object({
  ioThreads: z.array(z.string()),
  disks: z.record(z.string(), diskIds),
  nics: z.record(
    z.string(),
    z.object({
      device: z.string(),
      netdev: z.string(),
      vhost: z.boolean().optional(),
      macvtap: z.boolean().optional(),
      user: z.object({ kind: z.enum(['passt', 'slirp']), reason: z.string() }).optional(),
    }),
  ),
  vncSocketName: z.string().optional(),
  spiceSocketName: z.string().optional(),
  renderNode: z.string().optional(),
  channels: channelIds.optional(),
})

/** The places of a cage that an emulator gets something bound to. */
const bindPlaces = [
  '/boot/kernel',
  '/boot/initrd',
  '/run/vm',
  '/memory',
  '/devices',
  '/dev/vfio',
  '/dev/dri',
  '/sys',
] as const

const launch = z.object({
  uid: z.int(),
  plan: z.object({ ids }),
  cage: z.object({
    places: z.array(z.object({ place: z.enum(bindPlaces), writable: z.boolean() })),
    files: z.array(z.string()),
    filesOf: z.record(z.string(), z.array(z.string())).default({}),
    trees: z.array(z.string()).default([]),
    ioUring: z.boolean().default(true),
  }),
})

const record = launch.extend({
  pid: z.int().positive(),
  startTicks: z.int(),
  bootId: z.string(),
  cgroup: z.string(),
  startedAt: z.string(),
  qemuVersion: z.string(),
})

/** What an emulator may see and hold, by which its cage is judged. */
/** Something of the host that is laid over a place of an emulator's cage. */
export interface EmulatorBind {
  readonly source: string
  readonly place: (typeof bindPlaces)[number]
  readonly writable: boolean
  /** It is a device node, or a folder of some. */
  readonly device?: boolean
}

export interface StoredCage {
  readonly places: readonly { readonly place: (typeof bindPlaces)[number]; readonly writable: boolean }[]
  /** Directories of the host besides /usr that it shows. */
  readonly trees: readonly string[]
  readonly files: readonly string[]
  /** It was started so that it has io_uring; one of which nothing is known may have it. */
  readonly ioUring: boolean
  /** Those of disks that were plugged since its start, by the disk's name. */
  readonly filesOf: Readonly<Record<string, readonly string[]>>
}

/** What is known of an emulator before there is a process. */
export interface StoredLaunch {
  readonly uid: number
  readonly plan: EmulatorRecord['plan']
  readonly cage: StoredCage
}

export type StoredEmulator = EmulatorRecord & StoredLaunch

/** Writes down what is needed to find an emulator again. */
export async function writeRecord(paths: EmulatorPaths, value: StoredEmulator): Promise<void> {
  await writeWhole(paths.record, JSON.stringify(value))
}

/** Writes down, before there is a process, what cannot be asked of it later. */
export async function writeLaunch(paths: EmulatorPaths, { uid, plan, cage }: StoredLaunch): Promise<void> {
  await writeWhole(paths.launch, JSON.stringify({ uid, plan, cage }))
}

/** Reads an emulator's record; undefined when there is none or it cannot be read. */
export async function readRecord(paths: EmulatorPaths): Promise<StoredEmulator | undefined> {
  return withIds(parsed(record, await readWhole(paths.record)))
}

/** Reads what was written down before a launch; undefined when there is nothing or it cannot be read. */
export async function readLaunch(paths: EmulatorPaths): Promise<StoredLaunch | undefined> {
  return withIds(parsed(launch, await readWhole(paths.launch)))
}

function parsed<Schema extends z.ZodType>(
  schema: Schema,
  text: string | undefined,
): z.output<Schema> | undefined {
  if (text === undefined) return undefined
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** An id that is absent is undefined. */
function withIds<T extends z.output<typeof launch>>(value: T | undefined) {
  if (value === undefined) return undefined
  const { vncSocketName, ...rest } = value.plan.ids
  return { ...value, plan: { ids: { ...rest, vncSocketName } } }
}
