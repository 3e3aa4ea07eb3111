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
  /** There is a LUN `lun-1` in a pool `san` of the target. */
  readonly hasLun?: boolean
  readonly failpoint?: (name: FailpointName) => Promise<void>
}

/** A VM whose disk has two snapshots, the first with memory if it runs, and a pool of each kind, named after it. */
async function openWorld({
  from,
  runs,
  size = '64MiB',
  hasLun,
  ...options
}: Opened): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  for (const name of kinds) await world.call('createPool', { body: newPool.parse({ name, ...pools[name] }) })
  if (hasLun) await bringLun(world)
  await world.createVm('web1', { disks: [{ name: 'data', pool: from, size }] })
  if (runs) await world.call('startVm', { params, ...waiting })
  await snapshot(world, 'one', runs)
  await snapshot(world, 'two')
  return world
}

async function bringLun(world: SimulatedDaemon): Promise<void> {
  const target = 'iqn.2026-11.example:a'
  const folder = `/simulated/192.0.2.1/${target}`
  const lun = { capacityBytes: 64 * 2 ** 20, allocatedBytes: 0, basePath: undefined, folder, file: 'lun-1' }
  world.machine.volumes.set('theirs', lun)
  const pool = { type: 'iscsi', name: 'san', server: '192.0.2.1', target }
  await world.call('createPool', { body: newPool.parse(pool) })
  const body = { name: 'lun-1', file: 'lun-1', format: 'raw' as const, force: false }
  await world.call('importVolume', { params: { pool: 'san' }, body })
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

const ontoLun = { pool: 'san', volume: 'lun-1' }

for (const runs of [true, false])
  test(`a disk of a VM that ${runs ? 'runs' : 'is off'} goes with its snapshots onto a LUN, which has it alone when they are deleted`, async () => {
    await using world = await openWorld({ from: 'dir', runs, hasLun: true })
    mark(world)

    const job = await move(world, ontoLun)

    assert.equal(job.state, 'succeeded', String(job.error?.detail))
    assert.deepEqual(await volumes(world), [
      'san/lun-1 on web1-data.two',
      'san/web1-data.one',
      'san/web1-data.two on web1-data.one',
    ])
    assertMarked(world)
    await revert(world, 'one')
    for (const name of ['two', 'one'])
      await world.call('deleteSnapshot', { params: { ...params, snapshot: name }, ...waiting })
    assert.deepEqual(await volumes(world), ['san/lun-1'])
    const { spec } = await world.vm('web1')
    assert.equal(spec.disks[0]?.volume, 'lun-1')
  })

test('an emulator that did not go over after all has the disk as it was, and the LUN is free', async () => {
  const failpoint = async (name: FailpointName) => {
    if (name !== 'vm.move.after-row-switch') return
    world.process('web1').disks.mirrors.clear()
    throw new Error('a step failed')
  }
  await using world = await openWorld({ from: 'dir', runs: true, hasLun: true, failpoint })
  const before = await volumes(world)

  const job = await move(world, ontoLun)

  assert.equal(job.state, 'failed')
  assert.deepEqual(await volumes(world), before)
  const lun = world.daemon.context.ports.store.volumes.find('san', 'lun-1')
  assert.deepEqual([lun?.frozen, lun?.work, lun?.move], [false, undefined, undefined])
})

test('a LUN takes in no layers of a pool in which each is a whole volume', async () => {
  await using world = await openWorld({ from: 'rbd', runs: true, hasLun: true })

  await assert.rejects(move(world, ontoLun), /takes in only one layer/)
})

for (const end of ends.filter((one) => one.startsWith('the daemon')))
  test(`at whichever step ${end}, the layers are files or on a LUN, which is free otherwise`, async () => {
    await breakOffEverywhere(end, breakOffOntoLun)
  })

/** Moves a disk onto a LUN, breaks that off at a point, and looks at what has become of both. */
async function breakOffOntoLun({ point, runs, end }: Case): Promise<void> {
  await using world = await breakOffAt(point, end, {
    open: (options) => openWorld({ from: 'dir', runs, hasLun: true, ...options }),
    runs,
    begin: (first, { isDeath }) => move(first, ontoLun, isDeath ? 0 : patience),
  })

  await untilStill(world, end)
  if ((await world.vm('web1')).spec.disks[0]?.pool === 'dir') {
    assert.equal((await volumes(world)).at(-1), 'san/lun-1')
    const again = await move(world, { ...ontoLun, force: true })
    assert.equal(again.state, 'succeeded', String(again.error?.detail))
  }
  assert.deepEqual(await volumes(world), [
    'san/lun-1 on web1-data.two',
    'san/web1-data.one',
    'san/web1-data.two on web1-data.one',
  ])
}

for (const end of ends)
  test(`at whichever step ${end}, the disk and its layers are files or images of Ceph, all of them`, async () => {
    await breakOffEverywhere(end, breakOff)
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

  await untilStill(world, end)
  const [first = ''] = await volumes(world)
  assert.equal(world.machine.keptForCopies.size, 0)
  if (first.startsWith('dir')) assert.equal((await move(world, { pool: 'rbd' })).state, 'succeeded')
  await volumes(world)
  assertAtHome(world, 'rbd')
  assertMarked(world)
}

/** Breaks a move off at each failpoint, of a VM that runs and of one that is off. */
async function breakOffEverywhere(end: End, work: (one: Case) => Promise<void>): Promise<void> {
  const points = failpointNames.filter((name) => name.startsWith('vm.move.'))
  const off: readonly FailpointName[] = ['vm.move.after-row', 'vm.move.after-layer', 'vm.move.after-file']
  const cases = [
    ...points.map((point) => ({ point, runs: true })),
    ...(end.includes('emulator') ? [] : off.map((point) => ({ point, runs: false }))),
  ]
  const all = await Promise.allSettled(cases.map((one) => work({ ...one, end })))
  const failed = all.flatMap((one, index) =>
    one.status === 'rejected' ? [`${JSON.stringify(cases[index])}: ${String(one.reason)}`] : [],
  )
  assert.deepEqual(failed, [])
}

/** Until nothing is under way any more. */
async function untilStill(world: SimulatedDaemon, end: End): Promise<void> {
  const { store } = world.daemon.context.ports
  const isStill = async () =>
    world.daemon.context.jobs.running() === 0 &&
    new Set(store.volumes.list().flatMap(({ pool }) => (pool === 'san' ? [] : pool))).size <= 1 &&
    store.volumes.list().every(({ phase, work, move: begun }) => phase === 'ready' && !work && !begun) &&
    (!end.includes('emulator') || (await world.vm('web1')).status.state === 'crashed')
  for (let turn = 0; !(await isStill()); turn++) {
    assert.ok(turn < 3_000, `Something is under way for ever: ${JSON.stringify(store.volumes.list())}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
