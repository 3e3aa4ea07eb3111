/** Moves of disks with snapshots between pools that do snapshots in different ways (model/storage/carried-layer.ts). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPool } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { breakOffAt, type End, ends } from '../../testing/break-off.ts'
import {
  hurry,
  move,
  params,
  patience,
  revert,
  snapshot,
  volumes,
  waiting,
} from '../../testing/layered-disk.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const pools = {
  dir: { type: 'dir', path: '/mnt/dir' },
  lvm: { type: 'lvm', vg: 'vg0' },
  'lvm-thin': { type: 'lvm-thin', vg: 'vg1', thinPool: 'pool0' },
  rbd: { type: 'rbd', monitors: ['127.0.0.1'], cephPool: 'rbd' },
} as const
type Kind = keyof typeof pools
const kinds: readonly Kind[] = ['dir', 'lvm', 'lvm-thin', 'rbd']

interface Opened {
  readonly from: Kind
  readonly runs: boolean
  readonly size?: string
  readonly failpoint?: (name: FailpointName) => Promise<void>
}

/** A VM whose disk has two snapshots, the first with memory if it runs, and a pool of each kind, named after it. */
async function openWorld({ from, runs, size = '64MiB', ...options }: Opened): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  for (const name of kinds) await world.call('createPool', { body: newPool.parse({ name, ...pools[name] }) })
  await world.createVm('web1', { disks: [{ name: 'data', pool: from, size }] })
  if (runs) await world.call('startVm', { params, ...waiting })
  await snapshot(world, 'one', runs)
  await snapshot(world, 'two')
  return world
}

/** Marks what each snapshot holds, and the disk; answers what they say. */
function mark(world: SimulatedDaemon): void {
  for (const [words, id] of layersOf(world))
    world.machine.contents.set(id, new Map([[0, Buffer.from(words)]]))
}

/** The volumes of the snapshots, and of the disk. */
function layersOf(world: SimulatedDaemon): ReadonlyMap<string, string> {
  const { store } = world.daemon.context.ports
  return new Map(store.snapshots.list().map(({ name, layers: [layer] }) => [name, layer?.volumeId ?? '']))
}

/** That each snapshot has the copy of what it had. */
function assertMarked(world: SimulatedDaemon): void {
  for (const [words, id] of layersOf(world))
    assert.equal(String(world.machine.contents.get(id)?.get(0)), words)
}

/** How many of the volumes in a pool are clones that share with another one there. */
function clonesIn(world: SimulatedDaemon, pool: string): number {
  const rows = world.daemon.context.ports.store.volumes.list()
  return rows.filter((row) => row.pool === pool && world.machine.nativeClones.has(row.id)).length
}

/** What became of the disk and its layers, by how the pool that they are in does snapshots. */
function assertAtHome(world: SimulatedDaemon, pool: Kind): void {
  const rows = world.daemon.context.ports.store.volumes.list()
  assert.deepEqual([...new Set(rows.map((row) => row.pool))], [pool])
  for (const { baseId, liesIn, format } of rows) {
    const isOver = baseId !== undefined
    if (pool === 'dir') assert.equal(liesIn, undefined)
    else if (pool === 'lvm')
      assert.deepEqual([liesIn, format], isOver ? ['default', 'qcow2'] : [undefined, 'raw'])
    else assert.deepEqual([baseId, liesIn, format], [undefined, undefined, 'raw'])
  }
}

for (const from of kinds)
  for (const to of kinds.filter((kind) => kind !== from))
    test(`a disk goes from ${from} to ${to} with its snapshots, whether its VM runs or not, and they go on being snapshots`, async () => {
      for (const runs of [true, false]) {
        await using world = await openWorld({ from, runs })
        mark(world)

        const job = await move(world, { pool: to })

        assert.equal(job.state, 'succeeded', String(job.error?.detail))
        assert.equal((await volumes(world)).length, 3)
        assertAtHome(world, to)
        assertMarked(world)
        const isNative = to === 'rbd' || to === 'lvm-thin'
        const hadChain = from === 'dir' || from === 'lvm'
        assert.equal(clonesIn(world, to), isNative && hadChain ? 2 : 0)
        await revert(world, 'one')
        await snapshot(world, 'three')
        for (const name of ['two', 'one', 'three']) {
          const deletion = { params: { ...params, snapshot: name }, ...waiting }
          const deleted = await world.call('deleteSnapshot', deletion)
          assert.equal(deleted.state, 'succeeded', String(deleted.error?.detail))
        }
        assert.deepEqual(await volumes(world), [`${to}/web1-data`])
      }
    })

test('what is kept is the disk as it was, without its snapshots, which have gone along', async () => {
  await using world = await openWorld({ from: 'dir', runs: true })
  await revert(world, 'one')

  const job = await move(world, { pool: 'rbd', keep: true })

  assert.equal(job.state, 'succeeded', String(job.error?.detail))
  assert.deepEqual(await volumes(world), [
    'dir/web1-data on web1-data.one',
    'dir/web1-data.one',
    'rbd/web1-data',
    'rbd/web1-data.one',
    'rbd/web1-data.two',
  ])
  await world.call('deleteVolume', { params: { pool: 'dir', volume: 'web1-data' } })
  assert.equal((await volumes(world)).length, 3)
})

test('a disk that would become larger on whole extents goes with its snapshots once its VM is off', async () => {
  await using world = await openWorld({ from: 'dir', runs: true, size: '65MiB' })
  const before = await volumes(world)

  const live = await move(world, { pool: 'lvm' })

  assert.equal(live.error?.code, 'plan-refused')
  assert.deepEqual(await volumes(world), before)
  await world.call('powerOffVm', { params })
  const off = await move(world, { pool: 'lvm' })
  assert.equal(off.state, 'succeeded', String(off.error?.detail))
  const rows = world.daemon.context.ports.store.volumes.list()
  assert.deepEqual(
    rows.map(({ capacityBytes }) => capacityBytes / 2 ** 20),
    [68, 68, 68],
  )
})

for (const end of ends)
  test(`at whichever step ${end}, the disk and its layers are files or images of Ceph, all of them`, async () => {
    const points = failpointNames.filter((name) => name.startsWith('vm.move.'))
    const off: readonly FailpointName[] = ['vm.move.after-row', 'vm.move.after-layer', 'vm.move.after-file']
    const cases = [
      ...points.map((point) => ({ point, runs: true })),
      ...(end.includes('emulator') ? [] : off.map((point) => ({ point, runs: false }))),
    ]

    const all = await Promise.allSettled(cases.map((one) => breakOff({ ...one, end })))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${JSON.stringify(cases[index])}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

interface Case {
  readonly point: FailpointName
  readonly runs: boolean
  readonly end: End
}

/** Moves a disk, breaks that off at a point, and looks at what has become of it. */
async function breakOff({ point, runs, end }: Case): Promise<void> {
  await using world = await breakOffAt(point, end, {
    open: (options) => openWorld({ from: 'dir', runs, ...options }),
    runs,
    begin: (first, { isDeath }) => {
      mark(first)
      return move(first, { pool: 'rbd' }, isDeath ? 0 : patience)
    },
  })

  const { store } = world.daemon.context.ports
  const isStill = async () =>
    world.daemon.context.jobs.running() === 0 &&
    store.volumes.list().length === 3 &&
    store.volumes.list().every(({ work, move: begun }) => !work && !begun) &&
    (!end.includes('emulator') || (await world.vm('web1')).status.state === 'crashed')
  for (let turn = 0; !(await isStill()); turn++) {
    assert.ok(turn < 3_000, `Something is under way for ever: ${JSON.stringify(store.volumes.list())}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const [first = ''] = await volumes(world)
  assert.equal(world.machine.keptForCopies.size, 0)
  if (first.startsWith('dir')) assert.equal((await move(world, { pool: 'rbd' })).state, 'succeeded')
  await volumes(world)
  assertAtHome(world, 'rbd')
  assertMarked(world)
}
