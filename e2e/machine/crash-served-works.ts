/**
 * What is done to the disk of a VM on a server while processes are killed: its volume is on the server or, after a move, in the default
 * pool, and so on in turn. Each is one action of a user, from whatever a death left behind.
 *
 * Not here: who is killed, and what is looked at then (crash-served.ts).
 */
import { randomInt } from 'node:crypto'
import { endpoints, type Job, KvasirError, type Piece, type Volume } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { patient } from './patience.ts'
import { snapshotsOf } from './snapshots.ts'
import type { VmHandle } from './vm-handle.ts'
import type { World } from './world.ts'

const mib = 2 ** 20
const jobMs = 60_000
const uploadBytes = 4 * mib
/** Snapshots that there may be before one is deleted. */
const mostSnapshots = 3
/** The pool on the server. */
export const servedPool = 'tested'

/** What the works are done with. */
export interface WorkScene {
  readonly world: World
  readonly vm: VmHandle
  /** What volumes are imported from, where the pool makes none. */
  readonly luns: readonly string[] | undefined
  /** Counts up, for names. */
  made: number
}

type Work = (scene: WorkScene) => Promise<void>

/** All works, in the order in which rounds begin with them. */
export const works = {
  snapshot: takeSnapshot,
  move: moveDisk,
  export: exportDisk,
  merge: deleteSnapshot,
  upload,
  resize,
} as const satisfies Readonly<Record<string, Work>>

export type WorkName = keyof typeof works

/** The volume that the disk is on. */
export async function volumeOfDisk({ world, vm }: WorkScene): Promise<Volume> {
  const [disk] = (await vm.show()).spec.disks
  const params = { pool: disk?.pool ?? '', volume: disk?.volume ?? '' }
  return await world.client.call(endpoints.getVolume, { params })
}

async function takeSnapshot(scene: WorkScene): Promise<void> {
  const snapshots = snapshotsOf(scene.world, scene.vm)
  const all = await snapshots.list()
  if (all.length >= mostSnapshots) await snapshots.delete(all[0]?.name ?? '')
  await snapshots.create(`s${scene.made++}`)
}

async function deleteSnapshot(scene: WorkScene): Promise<void> {
  const snapshots = snapshotsOf(scene.world, scene.vm)
  const all = await snapshots.list()
  const victim = all[randomInt(Math.max(1, all.length))]?.name ?? `s${scene.made++}`
  if (all.length === 0) await snapshots.create(victim)
  await snapshots.delete(victim)
}

/** To the other pool, with its snapshots. A LUN holds a disk alone, so those are deleted before it goes back there. */
async function moveDisk(scene: WorkScene): Promise<void> {
  const { world, vm, luns } = scene
  const isServed = (await volumeOfDisk(scene)).pool === servedPool
  if (!isServed) {
    const snapshots = snapshotsOf(world, vm)
    for (const { name } of await snapshots.list()) await snapshots.delete(name)
  }
  const back =
    luns === undefined
      ? { pool: servedPool, format: 'raw' as const }
      : { pool: servedPool, volume: await freeLun(scene, luns), force: true }
  const body = isServed ? { pool: 'default', format: 'qcow2' as const } : back
  const params = { name: vm.name, disk: 'data' }
  await ended(world, await world.client.call(endpoints.moveDisk, { params, body }))
}

async function exportDisk(scene: WorkScene): Promise<void> {
  const { world, vm, luns } = scene
  await removeVolumes(world, /\.e\d+$/)
  const pool = luns === undefined && randomInt(2) === 0 ? servedPool : 'default'
  const body = { name: `e${scene.made++}`, pool }
  await ended(world, await world.client.call(endpoints.exportVm, { params: { name: vm.name }, body }))
}

async function upload(scene: WorkScene): Promise<void> {
  const { world, luns } = scene
  if (luns === undefined) await removeVolumes(world, /^up\d+$/)
  const volume = luns === undefined ? `up${scene.made++}` : await freeLun(scene, luns)
  const params = { pool: servedPool, volume }
  await world.client.call(endpoints.beginUpload, { params, body: { size: uploadBytes, force: true } })
  await world.client.sendPart(params, { offset: 0, pieces: pieces() })
  await ended(world, await world.client.call(endpoints.finishUpload, { params }))
}

async function* pieces(): AsyncGenerator<Piece> {
  yield { kind: 'data', bytes: new Uint8Array(uploadBytes).fill(7) }
}

/** By a mebibyte. A LUN is not resized here, so there it is asked for the size that it has. */
async function resize(scene: WorkScene): Promise<void> {
  const { name, pool, capacityBytes } = await volumeOfDisk(scene)
  const isLun = scene.luns !== undefined && pool === servedPool
  const body = { size: capacityBytes + (isLun || scene.luns !== undefined ? 0 : mib) }
  await scene.world.client.call(endpoints.resizeVolume, { params: { pool, volume: name }, body })
}

/** The volume of a LUN that nobody uses; where all that are volumes are used, another LUN becomes one. */
async function freeLun({ world }: WorkScene, luns: readonly string[]): Promise<string> {
  const volumes = await world.client.call(endpoints.listPoolVolumes, { params: { pool: servedPool } })
  for (const { name } of volumes.filter((one) => one.usedBy.length === 0 && one.upload !== undefined))
    await remove(world, { pool: servedPool, volume: name })
  for (const file of luns) {
    const body = { name: `free-${file}`, file, format: 'raw' as const }
    const made = await world.client
      .call(endpoints.importVolume, { params: { pool: servedPool }, body })
      .catch(unless(['in-use', 'name-taken']))
    if (made !== undefined) return made.name
  }
  const free = volumes.find(
    ({ usedBy, liesIn, frozen, snapshots = [], overlays = [] }) =>
      [...usedBy, ...snapshots, ...overlays].length === 0 && liesIn === undefined && !frozen,
  )
  if (free === undefined) throw new Error(`No LUN is free: ${volumes.map(({ name }) => name).join(', ')}`)
  return free.name
}

async function removeVolumes(world: World, names: RegExp): Promise<void> {
  for (const { pool, name } of await world.client.call(endpoints.listVolumes))
    if (names.test(name)) await remove(world, { pool, volume: name })
}

async function remove(
  world: World,
  params: { readonly pool: string; readonly volume: string },
): Promise<void> {
  await world.client.call(endpoints.deleteVolume, { params }).catch(unless(['volume-not-found']))
}

async function ended({ client }: World, job: Job): Promise<void> {
  await waitForJob(client, job, { signal: AbortSignal.timeout(patient(jobMs)) })
}

/** Lets refusals of some codes pass. */
function unless(codes: readonly KvasirError['code'][]): (error: unknown) => undefined {
  return (error) => {
    if (!(error instanceof KvasirError && codes.includes(error.code))) throw error
    return undefined
  }
}
