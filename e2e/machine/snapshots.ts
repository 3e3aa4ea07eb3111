/** Snapshots of a VM in the words of tests, and whether store, disk and emulator agree on its chains. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endpoints, type Job, type Snapshot, type Volume } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { patient } from './patience.ts'
import type { VmHandle } from './vm-handle.ts'
import type { World } from './world.ts'

const jobMs = 120_000
const run = promisify(execFile)

/** The snapshots of one VM. */
export interface Snapshots {
  list(): Promise<readonly Snapshot[]>
  create(name: string, options?: { readonly quiesce?: boolean; readonly memory?: boolean }): Promise<Snapshot>
  delete(name: string): Promise<Job>
  revert(name: string, options?: { readonly keep?: boolean }): Promise<Job>
}

/** The snapshots of a VM. */
export function snapshotsOf(world: World, vm: VmHandle): Snapshots {
  const params = { name: vm.name }
  const ended = (job: Job) => waitForJob(world.client, job, { signal: AbortSignal.timeout(patient(jobMs)) })
  return {
    list: () => world.client.call(endpoints.listSnapshots, { params }),
    async create(name, options = {}) {
      await ended(await world.client.call(endpoints.createSnapshot, { params, body: { name, ...options } }))
      return await world.client.call(endpoints.getSnapshot, { params: { ...params, snapshot: name } })
    },
    delete: async (name) =>
      ended(await world.client.call(endpoints.deleteSnapshot, { params: { ...params, snapshot: name } })),
    revert: async (name, body = {}) =>
      ended(
        await world.client.call(endpoints.revertSnapshot, { params: { ...params, snapshot: name }, body }),
      ),
  }
}

/** The chain of a volume by the store, as names, its own first. */
function recordedChain(name: string, volumes: readonly Volume[]): readonly string[] {
  const chain: string[] = []
  for (let at = volumes.find((volume) => volume.name === name); at; ) {
    chain.push(at.name)
    const { base }: Volume = at
    at = base === undefined ? undefined : volumes.find((volume) => volume.name === base)
  }
  return chain
}

/** How store, headers of files and emulator differ about the chains of a VM's disks, in sentences. */
export async function chainDifferences(world: World, vm: VmHandle): Promise<readonly string[]> {
  const [{ spec, status }, volumes] = await Promise.all([vm.show(), world.client.call(endpoints.listVolumes)])
  const problems: string[] = []
  const recorded = new Set<string>()
  for (const { name: disk, volume = '' } of spec.disks) {
    const chain = recordedChain(volume, volumes)
    const onDisk = await headerChain(world, await fileOf(world, volume))
    for (const path of onDisk) recorded.add(path)
    if (onDisk.length !== chain.length)
      problems.push(
        `Disk ${disk} has ${chain.length} layers by the store and ${onDisk.length} by its headers.`,
      )
  }
  if (status.pid === undefined) return problems
  const open = await openFiles(world, status.pid)
  const missing = recorded.difference(open)
  const extra = open.difference(recorded)
  if (missing.size > 0) problems.push(`The emulator does not have ${[...missing].join(', ')}.`)
  if (extra.size > 0) problems.push(`The emulator has ${[...extra].join(', ')} besides.`)
  return problems
}

/** The files of a chain as `qemu-img` finds them by the headers. */
async function headerChain(world: World, top: string): Promise<readonly string[]> {
  const { stdout } = await run('qemu-img', ['info', '-U', '--backing-chain', '--output=json', top])
  const links: unknown = JSON.parse(stdout)
  assert.ok(Array.isArray(links))
  const folder = join(world.place.stateDir, 'volumes')
  return links.map((link: { filename: string }) => link.filename).filter((path) => path.startsWith(folder))
}

/** The file of a volume. */
export async function fileOf(world: World, volume: string): Promise<string> {
  const id = (await volumeIds(world)).get(volume)
  assert.ok(id, `Volume ${volume} has an id.`)
  return join(world.place.stateDir, 'volumes', `${id}.qcow2`)
}

/** The ids of volumes, which the API does not show, from the store. */
async function volumeIds(world: World): Promise<ReadonlyMap<string, string>> {
  const { DatabaseSync } = await import('node:sqlite')
  using store = new DatabaseSync(join(world.place.stateDir, 'kvasir.db'), { readOnly: true })
  const rows = store.prepare('SELECT id, name FROM volumes').all()
  // By its name in the default pool, whatever the store writes before it.
  return new Map(rows.map((row) => [String(row['name']).split('/').at(-1) ?? '', String(row['id'])]))
}

/** The files of volumes that a process has open. */
export async function openFiles(world: World, pid: number): Promise<Set<string>> {
  const folder = join(world.place.stateDir, 'volumes')
  const links = (await readdir(`/proc/${pid}/fd`)).map((fd) =>
    readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''),
  )
  return new Set((await Promise.all(links)).filter((path) => path.startsWith(folder)))
}

/** Writes a byte over and over to a place of a volume that nobody has open, in mebibytes. */
export async function fill(path: string, byte: number, place: number): Promise<void> {
  await run('qemu-io', ['-f', 'qcow2', '-c', `write -P ${byte} ${place}M 64k`, path])
}

/** Whether a place of a volume that nobody has open is full of a byte. */
export async function isFull(path: string, byte: number, place: number): Promise<boolean> {
  const { stdout } = await run('qemu-io', ['-r', '-f', 'qcow2', '-c', `read -P ${byte} ${place}M 64k`, path])
  return !/Pattern verification failed/.test(stdout)
}
