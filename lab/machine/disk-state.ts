/**
 * The disks that a lab writes to, and which snapshots they hold.
 *
 * A snapshot is memory and disks together, inside the overlays (QEMU's savevm), so that the disks are never older or newer than the
 * memory. It belongs to an image and a machine; when either is another, all of it is made anew.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '@kvasir/linux'
import type { LabImage } from '../image/build-image.ts'
import { machineDigest, writableDisks } from './command-line.ts'
import type { Place } from './places.ts'

/** `booted` is taken by itself after the first boot; `kept` by `npm run lab -- snapshot`. */
export type SnapshotName = 'booted' | 'kept'

interface DiskState {
  /** The very file: one that was built again of the same recipe has its blocks elsewhere. */
  readonly image: string
  readonly machine: string
  readonly snapshots: readonly SnapshotName[]
}

const createTimeoutMs = 30_000
const copyTimeoutMs = 300_000

/**
 * Gives the snapshots of the lab's disks. The disks are made anew when they are of another image or machine, and when they hold no
 * snapshot: what an interrupted boot left on them is of no use.
 */
export async function provideDisks(place: Place, image: LabImage): Promise<readonly SnapshotName[]> {
  const snapshots = await findSnapshots(place, image)
  if (snapshots.length > 0) return snapshots
  await forgetDisks(place)
  await mkdir(place.state, { recursive: true, mode: 0o700 })
  for (const { name, size } of writableDisks) {
    const base = name === 'root' ? ['-b', image.disk, '-F', 'raw'] : []
    const argv = ['qemu-img', 'create', '-q', '-f', 'qcow2', ...base, place.overlay(name), size]
    await runCommand(argv, { timeoutMs: createTimeoutMs })
  }
  await writeState(place, { image: await identityOf(image), machine: machineDigest(), snapshots: [] })
  return []
}

/** The snapshots that are there for this image and machine. */
export async function findSnapshots(place: Place, image: LabImage): Promise<readonly SnapshotName[]> {
  const state = await readState(place)
  const isOurs = state?.image === (await identityOf(image)) && state.machine === machineDigest()
  return isOurs ? state.snapshots : []
}

/** Makes the disks of a place, with their snapshots, as those of another are, unless they are; neither has an emulator that runs. */
export async function copyDisks(from: Place, to: Place): Promise<void> {
  const state = await readState(from)
  if (state === undefined) throw new Error(`There are no disks in ${from.state}, so they are not copied.`)
  if (JSON.stringify(await readState(to)) === JSON.stringify(state)) return
  await forgetDisks(to)
  await mkdir(to.state, { recursive: true, mode: 0o700 })
  for (const { name } of writableDisks) {
    const argv = ['cp', '--sparse=always', '--reflink=auto', from.overlay(name), to.overlay(name)]
    await runCommand(argv, { timeoutMs: copyTimeoutMs })
  }
  await writeState(to, state) // Last: without it the disks are not there.
}

/** Takes the disks and all their snapshots away. */
export async function forgetDisks(place: Place): Promise<void> {
  await rm(place.state, { recursive: true, force: true })
}

/** Notes that a snapshot is there, or is not any more. */
export async function noteSnapshot(
  place: Place,
  { name, isThere }: { readonly name: SnapshotName; readonly isThere: boolean },
): Promise<void> {
  const state = await readState(place)
  if (state === undefined) throw new Error("The lab's disks are gone, so its snapshot cannot be noted.")
  const others = state.snapshots.filter((each) => each !== name)
  await writeState(place, { ...state, snapshots: isThere ? [...others, name] : others })
}

async function identityOf({ digest, disk }: LabImage): Promise<string> {
  const { ino, mtimeMs } = await stat(disk)
  return `${digest} ${ino} ${mtimeMs}`
}

function stateFile(place: Place): string {
  return join(place.state, 'state.json')
}

async function readState(place: Place): Promise<DiskState | undefined> {
  const complete = writableDisks.every(({ name }) => existsSync(place.overlay(name)))
  const text = await readFile(stateFile(place), 'utf8').catch(() => undefined)
  if (!complete || text === undefined) return undefined
  return JSON.parse(text) as DiskState // Our own file, which is there whole or not at all.
}

async function writeState(place: Place, state: DiskState): Promise<void> {
  const next = `${stateFile(place)}.next`
  await writeFile(next, JSON.stringify(state))
  await rename(next, stateFile(place))
}
