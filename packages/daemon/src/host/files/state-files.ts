/**
 * Files below the state directory that are no volumes: saved memory, the memory of snapshots, seeds, UEFI variables, notes of volumes, each named by
 * an id that the daemon made.
 *
 * Files belong to root with mode 0600; emulators get descriptors. A file is on the disk, its name included, before the call that made
 * it returns. A seed is made at once or not at all; the partial file of a save is the emulator's to fill.
 *
 * They lie beside the store, on a local disk: were it to hang, the store would hang too, so these calls may use Node's own file-system
 * threads. Volumes lie in pools (host/pools), of which that cannot be said (design decision 8).
 */
import { constants } from 'node:fs'
import { mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes, KvasirError } from '@kvasir/contract'
import type { StateFiles } from '../../ports/files.ts'
import { memoryFiles } from './memory-files.ts'
import { notesFiles } from './notes-files.ts'
import { nvramFiles } from './nvram-files.ts'
import { publish, removeFiles, replaceFile, syncPath } from './synced-files.ts'
import { tpmFiles } from './tpm-files.ts'

export interface StateFilesOptions {
  readonly stateDir: string
  /** Space that no seed may take, so that the store can always be written; 64 MiB unless told. */
  readonly reservedBytes?: number
}

const DEFAULT_RESERVED_BYTES = 64 * 1024 ** 2

const endings = { save: '.memory', partialSave: '.memory.partial', seed: '.iso' } as const

/** Opens the files of a state directory, making their folders and that of the default pool. */
export async function openStateFiles(options: StateFilesOptions): Promise<StateFiles> {
  const folders = {
    volumes: join(options.stateDir, 'volumes'),
    saves: join(options.stateDir, 'saves'),
    seeds: join(options.stateDir, 'seeds'),
    snapshots: join(options.stateDir, 'snapshots'),
    nvram: join(options.stateDir, 'nvram'),
    tpm: join(options.stateDir, 'tpm'),
    notes: join(options.stateDir, 'notes'),
  }
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 })
  await syncPath(options.stateDir)
  await removeHalfSeeds(folders.seeds)

  const space = spaceOf(options.stateDir, options.reservedBytes ?? DEFAULT_RESERVED_BYTES)
  return {
    ...saveFiles(folders.saves),
    ...memoryFiles(folders),
    ...seedFiles(folders.seeds, space),
    ...tpmFiles(folders.tpm),
    ...nvramFiles(folders.nvram, { requireSpace: (bytes) => space.require(bytes) }),
    ...notesFiles(folders.notes, { requireSpace: (bytes) => space.require(bytes) }),
    freeBytes: () => space.freeBytes(),
    directIo: (await Promise.all([options.stateDir, folders.volumes].map(takesDirectIo))).every(Boolean),
  }
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
  } satisfies Partial<StateFiles>
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
  } satisfies Partial<StateFiles>
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

interface Space {
  freeBytes(): Promise<number>
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
  return { freeBytes, require }
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
