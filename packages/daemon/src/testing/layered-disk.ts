/** What is done in tests to a disk `data` of VM `web1` that has snapshots, and whether all that is left of it agrees. */
import assert from 'node:assert/strict'
import type { Job } from '@kvasir/contract'
import type { SimulatedDaemon } from './simulated-daemon.ts'

/** How much faster time goes than on a real host. */
export const hurry = 50
/** How long a job is waited for, in seconds of that time. */
export const patience = 60 * hurry
export const params = { name: 'web1' }
export const waiting = { query: { wait: patience } }

/** Moves the disk, to pool `fast` unless told. */
export function move(world: SimulatedDaemon, more = {}, wait = patience): Promise<Job> {
  const body = { pool: 'fast', speed: 0, keep: false, force: false, ...more }
  return world.call('moveDisk', { params: { ...params, disk: 'data' }, query: { wait }, body })
}

/** Takes a snapshot. */
export async function snapshot(world: SimulatedDaemon, name: string, memory = false): Promise<void> {
  const body = { name, description: '', quiesce: false, memory }
  const job = await world.call('createSnapshot', { params, ...waiting, body })
  assert.equal(job.state, 'succeeded', String(job.error?.detail))
}

/** Goes back to a snapshot. */
export async function revert(world: SimulatedDaemon, name: string): Promise<void> {
  const body = { keep: false }
  const job = await world.call('revertSnapshot', { params: { ...params, snapshot: name }, ...waiting, body })
  assert.equal(job.state, 'succeeded', String(job.error?.detail))
}

/** Each volume with its pool and what it lies on; store, pools, snapshots and emulator agree, and nothing is under way. */
export async function volumes(world: SimulatedDaemon): Promise<readonly string[]> {
  const { store } = world.daemon.context.ports
  const rows = store.volumes.list()
  assert.ok(
    rows.every(({ phase, work, move: begun }) => phase === 'ready' && work === undefined && !begun),
    JSON.stringify(rows),
  )
  assert.deepEqual([...world.machine.volumes.keys()].toSorted(), rows.map(({ id }) => id).toSorted())
  const { spec, status } = await world.vm('web1')
  const [disk] = spec.disks
  const chain: string[] = []
  for (let row = store.volumes.find(disk?.pool ?? '', disk?.volume ?? ''); row; ) {
    chain.push(row.file ?? row.id)
    row = row.baseId === undefined ? undefined : store.volumes.get(row.baseId)
  }
  if (status.state === 'running') {
    const open = world.process('web1').chains.get('data') ?? []
    assert.equal(open.length, chain.length, open.join(', '))
    for (const [depth, id] of chain.entries()) assert.ok(open[depth]?.includes(id), open.join(', '))
    assert.equal(world.process('web1').disks.mirrors.size, 0)
  }
  for (const { name, layers, spec: then, memory } of store.snapshots.list())
    for (const { volumeId } of layers) {
      const layer = store.volumes.get(volumeId)
      assert.equal(layer?.pool, disk?.pool, `The layer of snapshot ${name} is where the disk is.`)
      const specs = [then, memory?.booted?.spec ?? then]
      assert.deepEqual(
        specs.map((one) => one.disks[0]?.pool),
        [disk?.pool, disk?.pool],
      )
    }
  return rows
    .map(({ pool, name, baseId }) =>
      [`${pool}/${name}`, ...(baseId === undefined ? [] : [`on ${store.volumes.get(baseId)?.name}`])].join(
        ' ',
      ),
    )
    .toSorted()
}
