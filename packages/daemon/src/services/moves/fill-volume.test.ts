/** Moves of disks into volumes that are there, of VMs that run and that are off. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Job, newPool, newVolume } from '@kvasir/contract'
import { type FailpointName, failpointNames } from '../../ports/failpoints.ts'
import { breakOffAt, type End, ends } from '../../testing/break-off.ts'
import { openSimulatedDaemon, type SimulatedDaemon } from '../../testing/simulated-daemon.ts'

const hurry = 50
const patience = 60 * hurry
const mib = 2 ** 20
const params = { name: 'web1', disk: 'data' }
const place = { pool: 'fast', volume: 'lun' }

interface Wanted {
  readonly volume?: string
  readonly format?: 'qcow2'
  readonly keep?: boolean
  readonly force?: boolean
}

function move(world: SimulatedDaemon, wanted: Wanted = {}, wait = patience): Promise<Job> {
  const body = { ...place, speed: 0, keep: false, force: false, ...wanted }
  return world.call('moveDisk', { params, query: { wait }, body })
}

async function addVolume(world: SimulatedDaemon, name: string, size: number, format: 'raw' | 'qcow2') {
  await world.call('createVolume', {
    params: { pool: 'fast' },
    body: newVolume.parse({ name, size, format }),
  })
}

/** A VM with a disk, and a volume of another pool that is free and larger. */
async function openWorld(runs: boolean, options = {}): Promise<SimulatedDaemon> {
  const world = await openSimulatedDaemon({ hurry, ...options })
  await world.call('createPool', { body: newPool.parse({ type: 'dir', name: 'fast', path: '/mnt/fast' }) })
  await addVolume(world, 'lun', 96 * mib, 'raw')
  await world.createVm('web1', { disks: [{ name: 'data', size: '64MiB' }] })
  if (runs) await world.call('startVm', { params: { name: 'web1' }, query: { wait: patience } })
  return world
}

function rowOf(world: SimulatedDaemon, pool: string, name: string) {
  return world.daemon.context.ports.store.volumes.find(pool, name)
}

/** All volumes that there are, none of which anything is done to, and the one that the disk is on by store and emulator. */
async function stateOf(world: SimulatedDaemon) {
  const rows = world.daemon.context.ports.store.volumes.list()
  const { spec, status } = await world.vm('web1')
  const [disk] = spec.disks
  const row = rowOf(world, disk?.pool ?? '', disk?.volume ?? '')
  assert.ok(
    rows.every(({ phase, work, move: begun }) => phase === 'ready' && work === undefined && !begun),
    JSON.stringify(rows),
  )
  assert.deepEqual([...world.machine.volumes.keys()].toSorted(), rows.map(({ id }) => id).toSorted())
  if (status.state === 'running') {
    const [top = '', ...below] = world.process('web1').chains.get('data') ?? []
    assert.ok(top.includes(row?.id ?? 'none'), `The emulator has ${top}.`)
    assert.deepEqual([below, world.process('web1').disks.mirrors.size], [[], 0])
  }
  return {
    disk: `${disk?.pool}/${disk?.volume}`,
    volumes: rows.map(({ pool, name }) => `${pool}/${name}`).toSorted(),
  }
}

/** Puts bytes at a place of a volume. */
function write(world: SimulatedDaemon, { pool, volume }: typeof place, at: number, bytes: string): void {
  const block = new Uint8Array(4096)
  block.set(Buffer.from(bytes, 'latin1'), at % 4096)
  const id = rowOf(world, pool, volume)?.id ?? ''
  world.machine.contents.set(id, new Map([[Math.floor(at / 4096), block]]))
}

async function eventually(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!condition()) {
    assert.ok(performance.now() < deadline, `Waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

for (const runs of [true, false]) {
  const how = runs ? 'that runs' : 'that is off'

  test(`a disk of a VM ${how} goes into a volume that is there, which keeps its name and size`, async () => {
    await using world = await openWorld(runs)
    const { id } = rowOf(world, 'fast', 'lun') ?? {}

    const job = await move(world)

    assert.equal(job.state, 'succeeded', String(job.error?.detail))
    assert.equal(job.result, 'lun')
    assert.deepEqual(await stateOf(world), { disk: 'fast/lun', volumes: ['fast/lun'] })
    assert.deepEqual(
      [rowOf(world, 'fast', 'lun')?.id, rowOf(world, 'fast', 'lun')?.capacityBytes],
      [id, 96 * mib],
    )
    assert.deepEqual((await world.vm('web1')).status.restartNeeded ?? [], [])
  })

  test(`what holds something is written over only by force, for a VM ${how}, and the former volume kept on request`, async () => {
    await using world = await openWorld(runs)
    write(world, place, 1080, '\x53\xef')

    const refused = await move(world)
    assert.equal(refused.error?.code, 'in-use')
    assert.match(refused.error?.detail ?? '', /holds an ext2, ext3 or ext4 file system/)
    assert.equal((await stateOf(world)).disk, 'default/web1-data')
    const forced = await move(world, { force: true, keep: true })

    assert.equal(forced.state, 'succeeded', String(forced.error?.detail))
    assert.deepEqual(await stateOf(world), {
      disk: 'fast/lun',
      volumes: ['default/web1-data', 'fast/lun'],
    })
  })

  test(`nothing else is done to a volume while the disk of a VM ${how} goes into it, and a cancelled move leaves it`, async () => {
    await using world = await openWorld(runs)
    if (runs) world.process('web1').disks.copies = 'never to the end'
    else world.machine.stepMs = 50_000
    const job = await move(world, {}, 0)
    await eventually(() => rowOf(world, 'fast', 'lun')?.work === 'filled', 'it is filled')

    await assert.rejects(world.call('deleteVolume', { params: place }), { code: 'busy' })
    await assert.rejects(
      world.createVm('web2', { disks: [{ name: 'data', pool: 'fast', volume: 'lun' }] }),
      /is being filled/,
    )
    await world.call('cancelJob', { params: { id: job.id } })
    const ended = await world.call('getJob', { params: { id: job.id }, query: { wait: patience } })

    assert.equal(ended.state, 'cancelled')
    assert.match(ended.outcome ?? '', /fast\/lun holds is undefined/)
    assert.deepEqual(await stateOf(world), {
      disk: 'default/web1-data',
      volumes: ['default/web1-data', 'fast/lun'],
    })
  })
}

test('a volume that is too small, in use, a base, an overlay or of another format is refused', async () => {
  await using world = await openWorld(true)
  await addVolume(world, 'small', 32 * mib, 'raw')
  await addVolume(world, 'base', 64 * mib, 'qcow2')
  await addVolume(world, 'large', 96 * mib, 'qcow2')
  await addVolume(world, 'used', 64 * mib, 'raw')
  await world.createVm('web2', { disks: [{ name: 'data', pool: 'fast', volume: 'used' }] })
  const clone = { name: 'clone', mode: 'linked' as const }
  await world.call('cloneVolume', {
    params: { pool: 'fast', volume: 'base' },
    query: { wait: patience },
    body: clone,
  })

  await assert.rejects(move(world, { volume: 'none' }), { code: 'volume-not-found' })
  await assert.rejects(move(world, { volume: 'small' }), /only 32 MiB/)
  await assert.rejects(move(world, { volume: 'used' }), /in use by VM web2/)
  await assert.rejects(move(world, { volume: 'base.base' }), /is the base of others/)
  await assert.rejects(move(world, { volume: 'clone' }), /overlay/)
  await assert.rejects(move(world, { format: 'qcow2' }), /raw and stays so/)
  assert.match((await move(world, { volume: 'large' })).error?.detail ?? '', /has to have just as much/)
  assert.equal((await stateOf(world)).disk, 'default/web1-data')
})

test('a LUN that a disk leaves is a free volume again, under whatever layers it was', async () => {
  await using world = await openSimulatedDaemon({ hurry })
  const target = { type: 'iscsi', name: 'san', server: '192.0.2.1', target: 'iqn.2026-11.example:a' }
  await world.call('createPool', { body: newPool.parse(target) })
  const folder = '/simulated/192.0.2.1/iqn.2026-11.example:a'
  const lun = { capacityBytes: 64 * mib, allocatedBytes: 0, basePath: undefined, folder, file: 'lun-1' }
  world.machine.volumes.set('theirs', lun)
  const wanted = { name: 'lun-1', file: 'lun-1', format: 'raw' as const, force: false }
  await world.call('importVolume', { params: { pool: 'san' }, body: wanted })
  await world.createVm('web1', { disks: [{ name: 'data', pool: 'san', volume: 'lun-1' }] })
  const names = () => world.daemon.context.ports.store.volumes.list().map(({ name }) => name)
  const waiting = { query: { wait: patience } }
  const away = { speed: 0, keep: false, force: false, pool: 'default' }
  const leave = () => world.call('moveDisk', { params, ...waiting, body: away })
  for (const name of ['one', 'two']) {
    const body = { name, description: '', quiesce: false, memory: false }
    const made = await world.call('createSnapshot', { params: { name: 'web1' }, ...waiting, body })
    assert.equal(made.state, 'succeeded', String(made.error?.detail))
  }
  const named = (snapshot: string) => ({ params: { name: 'web1', snapshot }, ...waiting })
  await world.call('revertSnapshot', { ...named('one'), body: { keep: true } })
  for (const name of ['one', 'two']) await world.call('deleteSnapshot', named(name))
  // What was kept lay on the layers, so that they could not go, and takes along what only it needed.
  await world.call('deleteVolume', { params: { pool: 'san', volume: 'lun-1.one-2' } })
  assert.equal(names().length, 2, names().join(', '))

  const job = await leave()

  assert.equal(job.state, 'succeeded', String(job.error?.detail))
  const left = world.daemon.context.ports.store.volumes.list().find(({ pool }) => pool === 'san')
  assert.deepEqual([left?.frozen, left?.file, names().length], [false, 'lun-1', 2])
  const body = { ...away, pool: 'san', volume: left?.name ?? '' }
  const back = await world.call('moveDisk', { params, ...waiting, body })
  assert.equal(back.state, 'succeeded', String(back.error?.detail))
  assert.equal((await leave()).state, 'succeeded')
  assert.equal(names().length, 2, 'The LUN stays when the disk was on it, too.')
})

test('a qcow2 volume of the same size takes a disk in', async () => {
  await using world = await openWorld(true)
  await addVolume(world, 'same', 64 * mib, 'qcow2')

  const job = await move(world, { volume: 'same' })

  assert.equal(job.state, 'succeeded', String(job.error?.detail))
  assert.equal((await stateOf(world)).disk, 'fast/same')
})

for (const end of ends)
  test(`at whichever step ${end}, both volumes are there or only the filled one, and the disk is on one of them`, async () => {
    const live = failpointNames
      .filter((name) => /^vm\.move\.(?!after-layer)/.test(name))
      .map((point) => [point, true])
    const off = failpointNames.filter((name) => name.startsWith('vm.fill.')).map((point) => [point, false])
    const cases = [...live, ...(end.includes('emulator') ? [] : off)] as [FailpointName, boolean][]

    const all = await Promise.allSettled(cases.map(([point, runs]) => breakOff(point, { end, runs })))

    const failed = all.flatMap((one, index) =>
      one.status === 'rejected' ? [`${cases[index]?.[0]}: ${String(one.reason)}`] : [],
    )
    assert.deepEqual(failed, [])
  })

/** Moves a disk, breaks that off at a point, and looks at what has become of it. */
async function breakOff(
  point: FailpointName,
  { end, runs }: { readonly end: End; readonly runs: boolean },
): Promise<void> {
  await using world = await breakOffAt(point, end, {
    open: (options) => openWorld(runs, options),
    runs,
    begin: (first, { isDeath }) => move(first, {}, isDeath ? 0 : patience),
  })

  const { store } = world.daemon.context.ports
  await eventually(
    () =>
      world.daemon.context.jobs.running() === 0 &&
      store.volumes.list().every(({ phase, work, move: begun }) => phase === 'ready' && !work && !begun),
    'nothing is under way',
  )
  if (end.includes('emulator'))
    for (let state = ''; state !== 'crashed'; state = (await world.vm('web1')).status.state)
      await new Promise((resolve) => setTimeout(resolve, 5))
  const { disk, volumes } = await stateOf(world)
  if (disk === 'fast/lun') assert.deepEqual(volumes, ['fast/lun'])
  else assert.deepEqual([disk, volumes], ['default/web1-data', ['default/web1-data', 'fast/lun']])
  if (end.includes('emulator')) return
  if (disk !== 'fast/lun') assert.equal((await move(world)).state, 'succeeded')
  assert.equal((await stateOf(world)).disk, 'fast/lun')
}
