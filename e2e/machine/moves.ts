/** Moves of a VM's disks in the words of tests, and whether store, folders and emulator agree on where a disk is. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endpoints, type Job, type Volume } from '@kvasir/contract'
import { waitForJob } from '@kvasir/sdk'
import { eventually } from './eventually.ts'
import { patient } from './patience.ts'
import type { VmHandle } from './vm-handle.ts'
import type { World } from './world.ts'

const jobMs = 120_000
/** A pool that hangs holds a move up for most of a minute. */
const longJobMs = 240_000
const run = promisify(execFile)

/** How a disk is to move. */
export interface MoveOptions {
  readonly pool?: string
  readonly format?: 'qcow2' | 'raw'
  readonly speed?: number
  readonly keep?: boolean
  /** A volume that is there. */
  readonly volume?: string
}

/** The moves of one VM's disks. */
export interface Moves {
  /** Begins to move a disk. */
  begin(disk: string, options: MoveOptions): Promise<Job>
  /** Moves a disk, and waits until it has. */
  move(disk: string, options: MoveOptions): Promise<Job>
  /** The volume that a disk is on by the store. */
  volume(disk: string): Promise<Volume>
  /** How store, folders and emulator differ about the VM's disks, in sentences; `alone` where there are no others. */
  differences(options?: { readonly alone: boolean }): Promise<readonly string[]>
}

/** The moves of a VM. */
export function movesOf(world: World, vm: VmHandle): Moves {
  const { client } = world
  const begin: Moves['begin'] = (disk, body) =>
    world.client.call(endpoints.moveDisk, { params: { name: vm.name, disk }, body })
  const volume: Moves['volume'] = async (name) => {
    const disk = (await vm.show()).spec.disks.find((one) => one.name === name)
    const params = { pool: disk?.pool ?? '', volume: disk?.volume ?? '' }
    return await world.client.call(endpoints.getVolume, { params })
  }
  return {
    begin,
    move: async (disk, options) =>
      waitForJob(client, await begin(disk, options), { signal: AbortSignal.timeout(patient(jobMs)) }),
    volume,
    async differences({ alone } = { alone: true }) {
      const { spec, status } = await vm.show()
      const chains = await Promise.all(spec.disks.map(async ({ name }) => chainOf(world, await volume(name))))
      const recorded = new Set(chains.flat())
      const there = await volumeFiles(world)
      const problems = [
        ...(await Promise.all(chains.map(headerDifferences))).flat(),
        ...[...recorded.difference(there)].map((path) => `${path} is recorded and not there.`),
        ...[...(alone ? there.difference(recorded) : [])].map(
          (path) => `${path} is there and no disk of the VM.`,
        ),
      ]
      if (status.pid === undefined) return problems
      const open = new Set(
        [...(await openFiles(status.pid))].filter((path) => path.startsWith(world.place.base)),
      )
      return [
        ...problems,
        ...[...recorded.difference(open)].map((path) => `The emulator does not have ${path}.`),
        ...[...open.difference(recorded)].map((path) => `The emulator has ${path} besides.`),
      ]
    },
  }
}

/** The paths of a volume and of the volumes that it lies on by the store, its own first. */
async function chainOf(world: World, { path = '', chain = [] }: Volume): Promise<readonly string[]> {
  const below = chain.filter(({ kind }) => kind === 'volume')
  const volumes = await Promise.all(
    below.map(({ pool = '', name }) =>
      world.client.call(endpoints.getVolume, { params: { pool, volume: name } }),
    ),
  )
  return [path, ...volumes.flatMap((one) => one.path ?? [])]
}

/** How a chain differs from what the headers of its files say. */
async function headerDifferences(chain: readonly string[]): Promise<readonly string[]> {
  const [top = ''] = chain
  if (!top.endsWith('.qcow2')) return []
  const { stdout } = await run('qemu-img', ['info', '-U', '--backing-chain', '--output=json', top])
  const links: readonly { readonly filename: string }[] = JSON.parse(stdout)
  const named = links.map(({ filename }) => filename).join(', ')
  return named === chain.join(', ') ? [] : [`${top} is on ${named} by its headers.`]
}

/** Makes a pool that is a folder of the place. */
export async function addPool(
  world: World,
  name: string,
  path = join(world.place.base, 'pools', name),
): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  await world.client.call(endpoints.createPool, { body: { type: 'dir', name, path } })
}

/** The files of volumes in the default pool and in those of `addPool`. */
async function volumeFiles(world: World): Promise<Set<string>> {
  const { base, stateDir } = world.place
  const pools = await readdir(join(base, 'pools')).catch(() => [])
  const folders = [join(stateDir, 'volumes'), ...pools.map((pool) => join(base, 'pools', pool))]
  const files = await Promise.all(
    folders.map(async (folder) => (await readdir(folder)).map((name) => join(folder, name))),
  )
  return new Set(files.flat().filter((path) => /\.(qcow2|raw)$/.test(path)))
}

/** The files of volumes that a process has open, each once. */
async function openFiles(pid: number): Promise<Set<string>> {
  const links = (await readdir(`/proc/${pid}/fd`)).map((fd) =>
    readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''),
  )
  return new Set((await Promise.all(links)).filter((path) => /\.(qcow2|raw)/.test(path)))
}

/** Waits for the end of a job that may take long, and gives it. */
export async function endOf(world: World, { id }: Job): Promise<Job> {
  const ended = async () => {
    const job = await world.client.call(endpoints.getJob, { params: { id } })
    return job.state === 'running' ? undefined : job
  }
  return await eventually(ended, { withinMs: longJobMs, everyMs: 200, what: 'the job ends' })
}
