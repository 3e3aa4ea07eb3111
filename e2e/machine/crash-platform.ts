/**
 * Lives of a VM with UEFI, a TPM and a folder of the host among the operations whose every step a daemon may die at: each helper is there
 * once while the VM runs and not otherwise, and what the VM's firmware and TPM keep is never lost.
 */
import { mkdir, open, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { VmSpecInput } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, create, diskless, exists, is, remove } from './crash-steps.ts'
import { eventually } from './eventually.ts'
import { chainDifferences, snapshotsOf } from './snapshots.ts'
import { tpmIdentity } from './tpm-identity.ts'
import type { World } from './world.ts'

const stillMs = 15_000
/** The VM that has run before. */
const name = 'platform'
const helpers = ['swtpm', 'virtiofsd']
/** Where OVMF's images of 4 MiB would keep a log of events, and keep nothing (OvmfPkg/VarStore.fdf.inc). */
const markAt = 0x40_000
const mark = Buffer.from('kept by the test')

async function specIn({ place }: World): Promise<VmSpecInput> {
  const folder = join(place.base, 'www')
  await mkdir(folder, { recursive: true })
  return {
    ...diskless,
    memory: { size: '256MiB' },
    machine: { firmware: 'uefi' },
    devices: { ...diskless.devices, tpm: true },
    disks: [{ name: 'data', size: '16MiB' }],
    shares: [{ name: 'www', folder }],
  }
}

/** The TPM of each VM when its state was first looked at, by the VM's uuid. */
type Known = Map<string, string>

/** Brings a VM that has run before into a state, with a mark in the variables of its UEFI. */
async function bringKept(world: World, known: Known, state: 'shutoff' | 'running'): Promise<void> {
  const vm = world.vm(name)
  if (!(await exists(world, name)) || !known.has((await vm.show()).uuid)) {
    await remove(world, name)
    await bring(world, name, 'running', await specIn(world))
    await bring(world, name, 'shutoff', {})
    const { uuid } = await vm.show()
    known.set(uuid, await tpmIdentity(join(world.place.stateDir, 'tpm', uuid)))
    await using file = await open(join(world.place.stateDir, 'nvram', `${uuid}.fd`), 'r+')
    await file.write(mark, 0, mark.length, markAt)
  }
  await bring(world, name, state, {})
  await requireKept(world, known)
}

/** Its helpers are those of its state, and its TPM and its variables are those that it had. */
async function requireKept(world: World, known: Known): Promise<void> {
  await untilStill(world, name)
  await requireHelpers(world, name)
  const { uuid } = await world.vm(name).show()
  const { stateDir } = world.place
  if ((await tpmIdentity(join(stateDir, 'tpm', uuid))) !== known.get(uuid))
    throw new Error(`The TPM of VM ${name} is another one.`)
  const files = await readdir(join(stateDir, 'nvram'))
  const marked = await Promise.all(files.map((file) => isMarked(join(stateDir, 'nvram', file))))
  const snapshots = await snapshotsOf(world, world.vm(name)).list()
  const found = marked.filter(Boolean).length
  if (found < 1 + snapshots.length)
    throw new Error(
      `VM ${name} has ${snapshots.length} snapshots, and its variables are there ${found} times.`,
    )
}

async function isMarked(path: string): Promise<boolean> {
  return (await readFile(path)).subarray(markAt).subarray(0, mark.length).equals(mark)
}

async function requireHelpers(world: World, name: string): Promise<void> {
  const { state, cgroup } = (await world.vm(name).show()).status
  const wanted = state === 'running' ? helpers : []
  const found = cgroup === undefined ? [] : await programsIn(cgroup)
  if (found.join(', ') !== wanted.join(', '))
    throw new Error(`VM ${name} is ${state} and has ${found.join(', ') || 'no helper'}.`)
}

/** The helpers that live in a cgroup, in the order of their names. */
async function programsIn(cgroup: string): Promise<readonly string[]> {
  const pids = (await readFile(join(cgroup, 'cgroup.procs'), 'utf8').catch(() => '')).trim().split('\n')
  const links = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/exe`).catch(() => '')))
  const names = links.map((link) => link.slice(link.lastIndexOf('/') + 1))
  return names.filter((one) => helpers.includes(one)).toSorted()
}

/** A VM that was being started or ended when its daemon died is, soon. */
async function untilStill(world: World, vm: string): Promise<void> {
  const isStill = async () => !['starting', 'stopping'].includes(await world.vm(vm).state()) || undefined
  await eventually(isStill, { withinMs: stillMs, what: `VM ${vm} is neither started nor ended` })
}

const starts = /^(?:vm\.start|emulator\.launch)\./

/** All operations on it. */
export function platformOperations(): readonly Operation[] {
  const known: Known = new Map()
  return [
    {
      name: 'start a VM with UEFI, TPM and a share for the first time',
      about: ['fresh'],
      points: starts,
      async prepare(world) {
        await remove(world, 'fresh')
        await create(world, 'fresh', await specIn(world))
      },
      run: (world) => world.vm('fresh').start(),
      async isDone(world) {
        await requireHelpers(world, 'fresh')
        return await is(world, 'fresh', 'running')
      },
    },
    {
      name: 'start a VM with UEFI, TPM and a share again',
      about: [name],
      points: starts,
      onlyDies: true,
      prepare: (world) => bringKept(world, known, 'shutoff'),
      run: (world) => world.vm(name).start(),
      async isDone(world) {
        await requireKept(world, known)
        return await is(world, name, 'running')
      },
    },
    {
      name: 'power off a VM with UEFI, TPM and a share',
      about: [name],
      points: /^(?:vm\.stop|emulator\.end)\./,
      onlyDies: true,
      prepare: (world) => bringKept(world, known, 'running'),
      run: async (world) => void (await world.vm(name).powerOff()),
      async isDone(world) {
        await requireKept(world, known)
        return await is(world, name, 'shutoff')
      },
    },
    ...(['create', 'revert'] as const).map((verb) => snapshotOperation(verb, known)),
    {
      name: 'delete a VM with UEFI, TPM and a share',
      about: [name],
      points: /^vm\.delete\./,
      onlyDies: true,
      prepare: (world) => bringKept(world, known, 'shutoff'),
      run: (world) => world.vm(name).delete({ disks: true }),
      isDone: async (world) => !(await exists(world, name)), // What is left of it, the audit says.
    },
  ]
}

/** Takes a snapshot of it while it is off, or goes back to one: the variables go along, the TPM stays. */
function snapshotOperation(verb: 'create' | 'revert', known: Known): Operation {
  const list = (world: World) => snapshotsOf(world, world.vm(name))
  return {
    name: `${verb} a snapshot of a VM with UEFI, TPM and a share`,
    about: [name],
    points: new RegExp(`^snapshot\\.${verb}\\.`),
    onlyDies: true,
    async prepare(world) {
      await bringKept(world, known, 'shutoff')
      const names = (await list(world).list()).map(({ name }) => name)
      for (const name of names) if (verb === 'create' || name !== 'older') await list(world).delete(name)
      if (verb === 'create') return
      if (!names.includes('older')) await list(world).create('older')
      await list(world).create('newer')
    },
    run: async (world) =>
      void (verb === 'create' ? await list(world).create('taken') : await list(world).revert('older')),
    async isDone(world) {
      await requireKept(world, known)
      const problems = await chainDifferences(world, world.vm(name))
      if (problems.length > 0) throw new Error(problems.join(' '))
      const all = await list(world).list()
      if (verb === 'create') return all.some(({ name, state }) => name === 'taken' && state === 'ready')
      return all.some(({ name, current }) => name === 'older' && current === true)
    },
  }
}
