/**
 * The default pool: volumes, saved memory and seeds as files below the state directory, each named by an id that the daemon made.
 *
 * Files belong to root with mode 0600, which a jail that reads or fills one widens by its own group (host/jail); emulators get
 * descriptors. A file is on the disk, its name included, before the call that made
 * it returns. Volume and seed are made at once or not at all; the partial file of a save is the emulator's to fill.
 *
 * The pool lies beside the store, on a local disk: were it to hang, the store would hang too, so these calls may use Node's own
 * file-system threads. Pools on a network do not belong here (design decision 8).
 */
import { constants } from 'node:fs'
import { mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes, KvasirError } from '@kvasir/contract'
import type { PoolFiles } from '../../ports/files.ts'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import { absorbLayers, nameBase } from './absorb-layers.ts'
import { checkedChain, inspectLink } from './chain-check.ts'
import { memoryFiles } from './memory-files.ts'
import { copyChain, makeQcow2 } from './qemu-img.ts'
import { createExclusively, publish, removeFiles, replaceFile, syncPath } from './synced-files.ts'

export interface DirectoryFilesOptions {
  readonly stateDir: string
  /** For what reads a volume: an emulator that was taken over may have written anything into it. */
  readonly jailed: JailedTools
  /** Space that no volume may take, so that the store can always be written; 64 MiB unless told. */
  readonly reservedBytes?: number
}

const DEFAULT_RESERVED_BYTES = 64 * 1024 ** 2

/** The largest qcow2 file with clusters of 64 KiB: a first-level table of 32 MiB. */
const MAX_CAPACITY_BYTES = 2 ** 51

const endings = { volume: '.qcow2', save: '.memory', partialSave: '.memory.partial', seed: '.iso' } as const

/** Opens the default pool, making its directories. */
export async function openDirectoryFiles(options: DirectoryFilesOptions): Promise<PoolFiles> {
  const folders = {
    volumes: join(options.stateDir, 'volumes'),
    saves: join(options.stateDir, 'saves'),
    seeds: join(options.stateDir, 'seeds'),
    snapshots: join(options.stateDir, 'snapshots'),
  }
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 })
  await syncPath(options.stateDir)
  await removeHalfSeeds(folders.seeds)

  const space = spaceOf(folders.volumes, options.reservedBytes ?? DEFAULT_RESERVED_BYTES)
  return {
    ...volumeFiles(folders.volumes, {
      space,
      jailed: options.jailed,
      roots: [folders.volumes, join(options.stateDir, 'images')],
    }),
    ...saveFiles(folders.saves),
    ...memoryFiles(folders),
    ...seedFiles(folders.seeds, space),
    freeBytes: () => space.freeBytes(),
    directIo: (await Promise.all([options.stateDir, folders.volumes].map(takesDirectIo))).every(Boolean),
  }
}

function volumeFiles(
  folder: string,
  from: { readonly space: Space; readonly jailed: JailedTools; readonly roots: readonly string[] },
) {
  const { space, jailed, roots } = from
  const volumePath = (id: string) => join(folder, checkedId(id) + endings.volume)
  return {
    volumePath,
    async createEmpty(id, capacityBytes) {
      refuseHuge(capacityBytes)
      await space.require(0)
      await makeFile(volumePath(id), (path) => makeQcow2(path, { capacityBytes, base: undefined }))
    },
    async createOverlay(id, base, capacityBytes) {
      const { capacityBytes: least } = await inspectLink(base)
      refuseHuge(capacityBytes ?? least)
      await space.require(0)
      await makeFile(volumePath(id), (path) =>
        makeQcow2(path, { capacityBytes: Math.max(least, capacityBytes ?? 0), base }),
      )
    },
    async createCopy(id, source, { onProgress, signal, backing }) {
      signal.throwIfAborted()
      const { chain, capacityBytes, allocatedBytes } = await checkedChain(source, { backing, roots })
      await space.require(allocatedBytes)
      const fileSizeBytes = Math.min(flatBytes(capacityBytes), await space.spareBytes())
      await makeFile(volumePath(id), (path) =>
        copyChain(path, chain, { jailed, onProgress, signal, fileSizeBytes }),
      )
    },
    async absorb(id, { backing, absorbed }, { onProgress, signal }) {
      const top = { path: volumePath(id), format: 'qcow2' as const }
      const work = { jailed, signal, fileSizeBytes: await space.spareBytes() }
      await nameBase(top.path, backing[0], work) // A merge that was broken off may have named another.
      const { chain, capacityBytes } = await checkedChain(top, { backing, roots })
      const fileSizeBytes = Math.min(flatBytes(capacityBytes), work.fileSizeBytes)
      await absorbLayers(chain, absorbed, { ...work, onProgress, fileSizeBytes })
      await nameBase(top.path, backing[absorbed], work)
      await syncPath(top.path)
    },
    removeVolume: (id) => removeFiles(volumePath(id)),
    allocatedBytes: (id) => allocatedBytes(volumePath(id)),
    listVolumes: () => idsIn(folder, endings.volume),
  } satisfies Partial<PoolFiles>
}

function saveFiles(folder: string) {
  const savePath = (id: string) => join(folder, checkedId(id) + endings.save)
  const partialSavePath = (id: string) => join(folder, checkedId(id) + endings.partialSave)
  return {
    savePath,
    partialSavePath,
    async commitSave(vmId) {
      const path = savePath(vmId)
      await publish(partialSavePath(vmId), path).catch((error: unknown) => {
        throw spaceError(path, error)
      })
      return { sizeBytes: (await stat(path)).size }
    },
    removeSave: (vmId) => removeFiles(savePath(vmId), partialSavePath(vmId)),
    async listSaves() {
      const whole = await idsIn(folder, endings.save)
      const partial = await idsIn(folder, endings.partialSave)
      return [
        ...whole.map((vmId) => ({ vmId, partial: false })),
        ...partial.map((vmId) => ({ vmId, partial: true })),
      ]
    },
  } satisfies Partial<PoolFiles>
}

function seedFiles(folder: string, space: Space) {
  const seedPath = (id: string) => join(folder, checkedId(id) + endings.seed)
  return {
    seedPath,
    async writeSeed(vmId, content) {
      await space.require(content.length)
      await replaceFile(seedPath(vmId), content).catch((error: unknown) => {
        throw spaceError(seedPath(vmId), error)
      })
    },
    removeSeed: (vmId) => removeFiles(seedPath(vmId), `${seedPath(vmId)}.partial`),
    listSeeds: () => idsIn(folder, endings.seed),
  } satisfies Partial<PoolFiles>
}

/** Tried rather than looked up: the kernel says no by EINVAL when a file is opened. */
async function takesDirectIo(folder: string): Promise<boolean> {
  const path = join(folder, '.direct-io')
  await rm(path, { force: true })
  try {
    const file = await open(
      path,
      constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_DIRECT,
      0o600,
    )
    await file.close()
    return true
  } catch (error) {
    if (codeOf(error) === 'EINVAL') return false
    return codeOf(error) === 'ENOSPC' || codeOf(error) === 'EDQUOT' // It could not be tried; most disks take it.
  } finally {
    await rm(path, { force: true })
  }
}

/** What a killed daemon left: a seed is written anew at each start of its VM. */
async function removeHalfSeeds(folder: string): Promise<void> {
  const names = await readdir(folder)
  await removeFiles(...names.filter((name) => name.endsWith('.partial')).map((name) => join(folder, name)))
}

/** Makes a file by `fill`; when that does not succeed there is no file. */
async function makeFile(path: string, fill: (path: string) => Promise<void>): Promise<void> {
  await createExclusively(path).catch((error: unknown) => {
    throw spaceError(path, error)
  })
  try {
    await fill(path)
    await syncPath(path)
    await syncPath(join(path, '..'))
  } catch (error) {
    await rm(path, { force: true })
    throw spaceError(path, error)
  }
}

interface Space {
  freeBytes(): Promise<number>
  /** Those beside the reserve. */
  spareBytes(): Promise<number>
  /** Throws `not-enough-space` when so many bytes do not fit beside the reserve. */
  require(bytes: number): Promise<void>
}

function spaceOf(folder: string, reservedBytes: number): Space {
  const freeBytes = async () => {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  }
  const require = async (bytes: number) => {
    const free = await freeBytes()
    if (free >= bytes + reservedBytes) return
    throw new KvasirError(
      'not-enough-space',
      `The disk of ${folder} has ${formatBytes(free)} free, of which ${formatBytes(reservedBytes)} are kept back, so there is no ` +
        `room for ${formatBytes(bytes)} more.`,
      { details: { freeBytes: free, neededBytes: bytes, reservedBytes } },
    )
  }
  const spareBytes = async () => Math.max(0, (await freeBytes()) - reservedBytes)
  return { freeBytes, spareBytes, require }
}

async function allocatedBytes(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).blocks * 512
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function idsIn(folder: string, ending: string): Promise<readonly string[]> {
  const names = await readdir(folder)
  return names.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length))
}

/** Ids become file names, so they are what the daemon makes and nothing else. */
function checkedId(id: string): string {
  if (!/^[0-9A-Za-z][0-9A-Za-z-]{0,63}$/.test(id)) throw new TypeError(`${JSON.stringify(id)} is not an id.`)
  return id
}

/** The most that a flat qcow2 file takes: tables for clusters of 64 KiB are 1/8192 of the data, and it begins with some clusters. */
function flatBytes(capacityBytes: number): number {
  return Math.ceil(capacityBytes * 1.01) + 16 * 1024 ** 2
}

function refuseHuge(capacityBytes: number): void {
  if (capacityBytes <= MAX_CAPACITY_BYTES) return
  throw new KvasirError(
    'unsupported',
    `A volume of ${formatBytes(capacityBytes)} is larger than a qcow2 file can be, so it was not made.`,
  )
}

function spaceError(path: string, error: unknown): unknown {
  if (codeOf(error) !== 'ENOSPC' && codeOf(error) !== 'EDQUOT') return error
  return new KvasirError('not-enough-space', `The disk of ${path} is full, so the file was not written.`, {
    details: { path },
    cause: error,
  })
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
