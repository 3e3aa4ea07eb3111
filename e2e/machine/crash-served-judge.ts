/**
 * What is looked at after a kill when everything is done to the disk of a VM on a server: whether store, server, headers of files and
 * emulator agree, and whether anything is left that nobody knows. What the guest wrote: storage/guest-blocks.ts.
 */
import { execFile } from 'node:child_process'
import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endpoints, type Volume } from '@kvasir/contract'
import { servedPool, volumeOfDisk, type WorkScene } from './crash-served-works.ts'
import { eventually } from './eventually.ts'
import { snapshotsOf } from './snapshots.ts'
import { straysOf } from './strays.ts'

const run = promisify(execFile)
const settleMs = 90_000
const agreeMs = 10_000

/** What is looked at. */
export interface JudgeScene extends WorkScene {
  /** How what the server has differs from the volumes that there are to be, in sentences. */
  readonly differences: (volumes: readonly Volume[]) => Promise<readonly string[]>
}

/** Waits until nothing is done to the VM, and it is in a state; what it is otherwise. */
export async function untilStill({ world, vm }: WorkScene, wanted: string): Promise<readonly string[]> {
  let seen = ''
  const isStill = async () => {
    const jobs = await world.client.call(endpoints.listJobs)
    const list = await snapshotsOf(world, vm).list()
    const open = [
      ...jobs.filter(({ state }) => state === 'running').map(({ kind }) => `job ${kind} runs`),
      ...list
        .filter(({ state }) => state !== 'ready')
        .map(({ name, state }) => `snapshot ${name} is ${state}`),
    ]
    seen = [await vm.stateAndReason(), ...open].join(', ')
    return (open.length === 0 && (await vm.state()) === wanted) || undefined
  }
  return await eventually(isStill, { withinMs: settleMs, everyMs: 100, what: '' }).then(
    () => [],
    () => [`It is not ${wanted} and still, but ${seen}.`],
  )
}

/** What still disagrees after a while: audit, host, server, store, headers, emulator. */
export async function untilAllAgree(scene: JudgeScene): Promise<readonly string[]> {
  let problems: readonly string[] = []
  const agree = async () => {
    problems = await disagreements(scene)
    return problems.length === 0 || undefined
  }
  await eventually(agree, { withinMs: agreeMs, everyMs: 250, what: '' }).catch((error: unknown) => {
    if (problems.length === 0) problems = [String(error)]
  })
  return problems
}

async function disagreements(scene: JudgeScene): Promise<readonly string[]> {
  const { world, vm, differences } = scene
  const [audit, strays, all, top] = await Promise.all([
    world.audit(),
    straysOf(world),
    world.client.call(endpoints.listVolumes),
    volumeOfDisk(scene),
  ])
  const chain = [top, ...(await Promise.all((top.chain ?? []).map((one) => shown(scene, one))))]
  const known = new Set(chain.map(({ name }) => name))
  const isOther = ({ name, upload }: Volume) => upload !== undefined || /^(free-|up\d)|\.e\d+$/.test(name)
  // A LUN that the disk has left stays as a free volume, with the name of the layer that it was.
  const isLun = ({ pool, liesIn }: Volume) =>
    scene.luns !== undefined && pool === servedPool && liesIn === undefined
  const isKept = (one: Volume) => (one.snapshots ?? []).length > 0 || one.frozen === true || isLun(one)
  const shownAll = await Promise.all(all.map((one) => shown(scene, one)))
  const { status } = await vm.show()
  return [
    ...audit.entries.map(({ kind, thing, detail }) => `Audit: ${kind} ${thing}: ${detail}`),
    ...strays.map((stray) => `Left on the host: ${stray}`),
    ...(await differences(all.filter(({ pool }) => pool === servedPool))),
    ...shownAll
      .filter((one) => !known.has(one.name) && !isOther(one) && !isKept(one))
      .map(({ pool, name }) => `Volume ${pool}/${name} is nobody's.`),
    ...(await headerDifferences(chain)),
    ...(status.pid === undefined ? [] : await openDifferences(scene, { chain, pid: status.pid })),
  ]
}

async function shown(
  { world }: WorkScene,
  { pool = '', name }: { pool?: string | undefined; name: string },
): Promise<Volume> {
  return await world.client.call(endpoints.getVolume, { params: { pool, volume: name } })
}

/** Each layer that is a file names the file below it, where that is one. */
async function headerDifferences(chain: readonly Volume[]): Promise<readonly string[]> {
  const problems = await Promise.all(
    chain.map(async ({ path, format }, index) => {
      const below = chain[index + 1]
      if (path === undefined || format !== 'qcow2') return []
      const { stdout } = await run('qemu-img', ['info', '-U', '-f', 'qcow2', '--output=json', path])
      const named: string | undefined = JSON.parse(stdout)['full-backing-filename']
      const isSo =
        below?.path === undefined ? (named === undefined) === (below === undefined) : named === below.path
      return isSo
        ? []
        : [
            `${path} is on ${named ?? 'nothing'} by its header, and on ${below?.path ?? below?.name ?? 'nothing'} by the store.`,
          ]
    }),
  )
  return problems.flat()
}

/** The emulator has the files of the chain open, and no other volumes. */
async function openDifferences(
  { world }: WorkScene,
  { chain, pid }: { readonly chain: readonly Volume[]; readonly pid: number },
): Promise<readonly string[]> {
  const folder = join(world.place.stateDir, 'volumes')
  const links = (await readdir(`/proc/${pid}/fd`)).map((fd) =>
    readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''),
  )
  const open = new Set((await Promise.all(links)).filter((path) => path.startsWith(folder)))
  const recorded = new Set(chain.flatMap(({ path }) => path ?? []))
  return [
    ...[...recorded.difference(open)].map((path) => `The emulator does not have ${path}.`),
    ...[...open.difference(recorded)].map((path) => `The emulator has ${path} besides.`),
  ]
}
