/**
 * Kills, of the daemon, the emulator, both, or a tool that works for the daemon, while everything is done to a disk on a server that
 * QEMU speaks to itself, and a guest writes numbered, checksummed blocks to it: what it flushed is there and nothing else, the chain is the
 * same by store, headers and emulator, and no volume is left that nobody knows.
 *
 * The moment of a kill is random within the time that the work took when nobody was killed.
 */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { endpoints, KvasirError } from '@kvasir/contract'
import type { StorageBackend } from '../storage/backend.ts'
import { CommandLine } from '../storage/command-line.ts'
import { blocksSpace, GuestBlocks, stateOfFile } from '../storage/guest-blocks.ts'
import { type JudgeScene, untilAllAgree, untilStill } from './crash-served-judge.ts'
import { servedPool, volumeOfDisk, type WorkName, type WorkScene, works } from './crash-served-works.ts'
import { crashShareOf, numberOf } from './crash-share.ts'
import { snapshotsOf } from './snapshots.ts'
import { openWorld } from './world.ts'

/** A tool lives for some milliseconds. */
const lookMs = 2

const victims = ['daemon', 'emulator', 'daemon', 'tool', 'daemon', 'both', 'daemon'] as const
type Victim = (typeof victims)[number]
const workNames = Object.keys(works) as readonly WorkName[]

interface Scene extends JudgeScene {
  readonly cli: CommandLine
  readonly blocks: GuestBlocks
  /** How long each work took when nobody was killed. */
  readonly tookMs: Map<WorkName, number>
  /** Works that were done while somebody was about to be killed. */
  done: number
}

/** Plays rounds on a backend, and fails when any ended badly. */
export async function playServedRounds(
  t: TestContext,
  backend: StorageBackend,
  rounds: number,
): Promise<void> {
  await using world = await openWorld(t)
  const scene = await setScene(t, world, backend)
  // A run with few rounds plays others of the combinations for each commit.
  const combinations = victims.length * workNames.length
  const turn = numberOf(crashShareOf(process.env).turn) >>> 1
  const killed: Record<Victim, number> = { daemon: 0, emulator: 0, both: 0, tool: 0 }
  const bad: string[] = []

  for (let round = 0; round < rounds; round++) {
    const at = (turn + round) % combinations
    const [victim = 'daemon', work = 'snapshot'] = [
      victims[at % victims.length],
      workNames[at % workNames.length],
    ]
    killed[victim]++
    const problems = await playRound(scene, { victim, work }).catch((error: unknown) => [String(error)])
    bad.push(...problems.map((one) => `round ${round}, kill of ${victim} while ${work}: ${one}`))
    if (problems.length > 0) break // What comes next would suffer from it.
  }
  if (bad.length === 0) bad.push(...(await judgeAtTheEnd(scene)))

  const kills = Object.entries(killed).map(([who, times]) => `${who} ${times}`)
  const last = await scene.blocks.said()
  t.diagnostic(
    `${backend.name}: ${rounds} rounds, ${bad.length} bad; kills of ${kills.join(', ')}; ${scene.done} works done besides, ${last} blocks flushed`,
  )
  assert.deepEqual(bad, [])
}

/** A VM with a disk on the server, whose guest writes; every work was done once. */
async function setScene(t: TestContext, world: WorkScene['world'], backend: StorageBackend): Promise<Scene> {
  const cli = new CommandLine(world)
  const opened = await backend.open(t, world, cli)
  const { pool, luns } = opened
  await cli.run('pool', 'create', servedPool, ...pool)
  const [params, file = ''] = [{ pool: servedPool }, luns?.[0]]
  if (luns === undefined)
    await world.client.call(endpoints.createVolume, {
      params,
      body: { name: 'data', size: blocksSpace, format: 'raw' },
    })
  else
    await world.client.call(endpoints.importVolume, { params, body: { name: 'data', file, format: 'raw' } })
  const disks = [{ name: 'data', pool: servedPool, volume: 'data' }]
  const vm = await world.bootTiny('web1', { disks, nics: [] })
  const blocks = new GuestBlocks(cli, vm.name)
  await blocks.begin(0)
  const differences: Scene['differences'] = (volumes) => opened.differences(volumes)
  const scene = { world, cli, vm, luns, blocks, differences, tookMs: new Map(), made: 0, done: 0 }
  for (const name of workNames) {
    const startedAt = performance.now()
    await works[name](scene)
    scene.tookMs.set(name, performance.now() - startedAt)
  }
  await blocks.moves()
  return scene
}

async function playRound(
  scene: Scene,
  { victim, work }: { readonly victim: Victim; readonly work: WorkName },
): Promise<readonly string[]> {
  const { world, vm, blocks } = scene
  if (victim === 'tool') await vm.powerOff() // While it runs, most of what is done is done by its emulator.
  const ended = new AbortController()
  const doing = workOn(scene, { first: work, signal: ended.signal })
  if (victim === 'tool') await killTool(scene, doing)
  else await pause(randomInt(Math.ceil(scene.tookMs.get(work) ?? 1)))
  ended.abort()
  if (victim === 'emulator' || victim === 'both') {
    const { pid } = (await vm.show()).status
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  }
  if (victim === 'daemon' || victim === 'both') {
    await world.daemon.kill9()
    await doing
    await world.startDaemon()
  } else await doing
  if (victim === 'tool') await deleteAgain(scene)
  const wanted = { daemon: 'running', emulator: 'crashed', both: 'crashed', tool: 'shutoff' }[victim]
  const problems = [...(await untilStill(scene, wanted)), ...(await untilAllAgree(scene))]
  if (wanted !== 'running') problems.push(...(await goOn(scene)))
  await blocks.moves().catch((error: unknown) => problems.push(String(error)))
  return problems
}

/** One work, and then any others until it is told to stop or a death ends it. */
async function workOn(
  scene: Scene,
  { first, signal }: { readonly first: WorkName; readonly signal: AbortSignal },
): Promise<void> {
  for (let name: WorkName | undefined = first; name !== undefined && !signal.aborted; ) {
    try {
      await works[name](scene)
      scene.done++
    } catch (error) {
      if (!(error instanceof KvasirError)) throw error
      if (error.code === 'unreachable' || error.code === 'internal') return
    }
    name = workNames[randomInt(workNames.length)]
  }
}

/** Kills a tool that works in the daemon's jail, as soon as there is one, and some milliseconds later. */
async function killTool({ world }: Scene, doing: Promise<void>): Promise<void> {
  let isOver = false
  void doing.then(() => (isOver = true))
  for (const end = performance.now() + 2_000; !isOver && performance.now() < end; await pause(lookMs)) {
    const [pid] = await toolsOf(world.place.prefix)
    if (pid === undefined) continue
    await pause(randomInt(20))
    try {
      process.kill(pid, 'SIGKILL')
      return
    } catch {
      // It has just ended; the next one is waited for.
    }
  }
}

/** A layer that was going down into the volume under it when its tool died is only deleted: whoever asked for that asks again. */
async function deleteAgain({ world, vm }: Scene): Promise<void> {
  const snapshots = snapshotsOf(world, vm)
  for (const { name, state } of await snapshots.list()) if (state === 'deleting') await snapshots.delete(name)
}

/** The processes of a daemon's cgroup that are no VM's. */
async function toolsOf(prefix: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const comm = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      if (!/^qemu-(img|nbd|storage-daem)/.test(comm)) return []
      const group = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')
      return group.includes(`/${prefix}/`) && !group.includes(`/${prefix}/vm-`) ? [Number(pid)] : []
    }),
  )
  return found.flat()
}

/** Starts the VM, whose disk holds what was flushed, and lets its guest write on. */
async function goOn({ vm, blocks }: Scene): Promise<readonly string[]> {
  const said = await blocks.said()
  const boots = await vm.boots()
  await vm.start()
  await vm.waitForLogin(boots + 1)
  try {
    const state = await blocks.state()
    await blocks.begin(Math.max(state, said) + 1)
    return state >= said ? [] : [`The disk holds block ${state}, and ${said} was flushed.`]
  } catch (error) {
    await blocks.begin(said + 1)
    return [String(error)]
  }
}

/** What the disk holds when the VM is off, and when its snapshots are gone. */
async function judgeAtTheEnd(scene: Scene): Promise<readonly string[]> {
  const { world, vm, cli, blocks } = scene
  await vm.powerOff()
  const said = await blocks.said()
  const problems: string[] = []
  const snapshots = snapshotsOf(world, vm)
  const look = async () => {
    const { pool, name } = await volumeOfDisk(scene)
    const file = join(world.place.base, 'downloaded.img')
    await cli.run('volume', 'download', `${pool}/${name}`, file, '--force')
    const state = await stateOfFile(file)
    if (state < said) problems.push(`At the end it holds block ${state}, and ${said} was flushed.`)
  }
  await look()
  for (const { name } of await snapshots.list()) await snapshots.delete(name)
  await look()
  return [...problems, ...(await untilAllAgree(scene))]
}
