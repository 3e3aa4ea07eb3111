/** Deletions of snapshots of LUNs, whose layers go back into them, among the operations whose every step a daemon may die at. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { endpoints, KvasirError, type VmSpecInput } from '@kvasir/contract'
import type { Operation } from './crash-operation.ts'
import { bring, diskless } from './crash-steps.ts'
import { snapshotsOf } from './snapshots.ts'
import type { World } from './world.ts'

const run = promisify(execFile)
const mib = 2 ** 20
const target = 'iqn.2026-11.example:crash'

/** A server of iSCSI. */
interface LunServer {
  readonly address: string
  readonly port: number
  addTarget(name: string, sizes: readonly number[]): Promise<void>
}

/** The operations, on LUNs of a server that they make a target of. */
export async function layerOperations(server: LunServer): Promise<readonly Operation[]> {
  await server.addTarget(target, [64 * mib, 64 * mib])
  return [operationOf('running', server, 1), operationOf('shutoff', server, 2)]
}

function operationOf(state: 'running' | 'shutoff', server: LunServer, lun: number): Operation {
  const vm = `layered-${state}`
  const volume = `lun-${lun}`
  const spec: VmSpecInput = { ...diskless, disks: [{ name: 'data', pool: 'san', volume }] }
  const snapshots = (world: World) => snapshotsOf(world, world.vm(vm))
  return {
    name: `merge the last layer into a LUN, ${state}`,
    about: [vm],
    points: /^snapshot\.sink\./,
    async prepare(world) {
      await bringLun(world, server, volume)
      await bring(world, vm, state, spec)
      for (const { name } of await snapshots(world).list()) await removeOrFollow(world, vm, name)
      if (state === 'running') await leaveGround(snapshots(world))
      else await snapshots(world).create('taken')
    },
    run: (world) => removeOrFollow(world, vm, 'taken'),
    async isDone(world) {
      if ((await snapshots(world).list()).length > 0) return false
      const { liesIn, format } = await world.client.call(endpoints.getVolume, {
        params: { pool: 'san', volume },
      })
      assert.deepEqual({ liesIn, format }, { liesIn: undefined, format: 'raw' })
      const { pid } = (await world.vm(vm).show()).status
      if (pid !== undefined) assert.equal(await openLayers(pid), 0, 'The emulator has no layer open.')
      return true
    },
  }
}

/** Goes back and forth, so that no snapshot names the LUN under the disk, and the one that is left is of a branch beside it. */
async function leaveGround(snapshots: ReturnType<typeof snapshotsOf>): Promise<void> {
  for (const name of ['ground', 'taken']) await snapshots.create(name)
  await snapshots.revert('ground')
  await snapshots.delete('ground')
}

async function bringLun(world: World, { address, port }: LunServer, volume: string): Promise<void> {
  const pools = await world.client.call(endpoints.listPools)
  const place = { type: 'iscsi', name: 'san', server: address, port, target } as const
  if (!pools.some(({ name }) => name === 'san'))
    await world.client.call(endpoints.createPool, { body: place })
  const volumes = await world.client.call(endpoints.listPoolVolumes, { params: { pool: 'san' } })
  if (volumes.some(({ name }) => name === volume)) return
  const body = { name: volume, file: volume, format: 'raw' as const }
  await world.client.call(endpoints.importVolume, { params: { pool: 'san' }, body })
}

/** A daemon goes on by itself with a deletion that was begun, so that who asks again may find it gone. */
async function removeOrFollow(world: World, vm: string, name: string): Promise<void> {
  try {
    await snapshotsOf(world, world.vm(vm)).delete(name)
  } catch (error) {
    if (!(error instanceof KvasirError && error.code === 'snapshot-not-found')) throw error
  }
}

/** How many qcow2 files a process has open. */
async function openLayers(pid: number): Promise<number> {
  const { stdout } = await run('ls', ['-l', `/proc/${pid}/fd`])
  return stdout.split('\n').filter((line) => line.endsWith('.qcow2')).length
}
