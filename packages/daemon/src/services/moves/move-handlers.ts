/** The handlers of disks that move to another pool or format: while the VM runs by its emulator, else as volumes are converted. */
import type { Job } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver } from '../../ports/drivers.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { Caller, Handlers } from '../handlers.ts'
import type { JobHandle } from '../jobs/live-job.ts'
import { beginConvertVolume } from '../volumes/copy-volume.ts'
import { awaitFreeName } from '../volumes/require-free-name.ts'
import { type MoveRequest, type PlannedMove, planMove } from './begin-move.ts'
import { removeLeft } from './copy-layers.ts'
import { exportVm } from './export-vm.ts'
import { beginFillVolume } from './fill-volume.ts'
import { layerCopiesOf, leftBy } from './layer-rows.ts'
import { followMove, moveDisk } from './move-disk.ts'
import { beginMoveLayersOff } from './move-layers-off.ts'
import { movesOf, stepOf } from './move-rows.ts'
import { planExport } from './plan-export.ts'
import { settleMoves } from './settle-moves.ts'

/** A large disk at a low speed. */
const moveDeadlineMs = 7 * 24 * 3_600_000

/** The handlers of moves. */
export function createMoveHandlers(
  context: Context,
): Pick<Handlers, 'moveDisk' | 'setMoveSpeed' | 'exportVm'> {
  const { drivers, jobs, ports } = context
  return {
    async moveDisk({ params, query, body, caller, keep, signal }) {
      const driver = drivers.find(params.name)
      const moved = driver.view().record.spec.disks.find(({ name }) => name === params.disk)
      if (moved?.volume !== undefined && body.pool !== undefined && body.pool !== moved.pool)
        await awaitFreeName({ pool: body.pool, name: moved.volume }, ports, signal)
      const { record } = driver.view()
      const request = { ...body, disk: params.disk }
      const planned = planMove(record, request, context)
      const asked = { context, caller, keep }
      const job = isOff(record)
        ? beginOff(driver, { planned, request }, asked)
        : beginLive(driver, request, asked)
      return await jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async exportVm({ params, query, body, caller, keep, signal }) {
      const driver = drivers.find(params.name)
      planExport(driver.view().record, body, context)
      driver.requireAllowed('merge')
      const job = begin('vm.export', driver, { context, caller, keep }, (handle) =>
        exportVm({ driver, context, job: handle, request: body }),
      )
      return await jobs.wait(job.id, (query.wait ?? 0) * 1000, signal)
    },
    async setMoveSpeed({ params, body }) {
      const { record, emulator } = drivers.find(params.name).view()
      const copy = movesOf(record.id, ports.store).find(({ move }) => move.disk === params.disk)
      if (!copy || !emulator)
        throw new KvasirError('wrong-state', `Disk ${params.disk} of VM ${record.name} is not being moved.`)
      const name = { disk: params.disk, id: copy.id }
      if ((await emulator.blocks.mirrors.state(name)) === 'absent') {
        const hasLayers = layerCopiesOf(copy.id, ports.store).length > 0
        throw new KvasirError(
          'wrong-state',
          hasLayers
            ? `The layers under disk ${params.disk} of VM ${record.name} are still being copied, and keep the speed that they were begun with.`
            : `Disk ${params.disk} of VM ${record.name} is not being copied at this moment, so there is no speed to change.`,
        )
      }
      await emulator.blocks.mirrors.setSpeed(name, body.speed)
      return undefined
    },
  }
}

interface Asked {
  readonly context: Context
  readonly caller: Caller
  readonly keep: (job: Job) => void
}

function beginOff(
  driver: Driver,
  move: { readonly planned: PlannedMove; readonly request: MoveRequest },
  asked: Asked,
): Job {
  const { volume, into, pool, format, keep, layers } = move.planned
  const { force, speed } = move.request
  if (layers.length > 0) return beginMoveLayersOff(driver, move, asked)
  return into
    ? beginFillVolume({ volume, into }, { keep, force, speed }, asked)
    : beginConvertVolume(volume, { pool, format, keep }, asked)
}

function beginLive(driver: Driver, request: MoveRequest, asked: Asked): Job {
  driver.requireAllowed('merge')
  return begin('vm.move-disk', driver, asked, (job) => moveDisk(driver, asked.context, { ...request, job }))
}

/** Goes on with moves of a VM's disks that nobody follows: a former daemon began them, or the emulator did not answer. */
export async function resumeMoves(id: string, context: Context): Promise<void> {
  const { store } = context.ports
  const driver = context.drivers.get(id)
  if (
    !driver ||
    movesOf(id, store).length === 0 ||
    context.jobs.isUnderWay(['vm.move-disk', 'vm.export'], id)
  )
    return
  const left = movesOf(id, store).flatMap((copy) => leftBy(copy, store))
  await driver.take('edit', (seat) => settleMoves(seat, context.ports))
  await removeLeft(left, context)
  for (const copy of movesOf(id, store))
    if (stepOf(copy) === 'creating')
      begin('vm.move-disk', driver, { context, caller: { name: 'recovery' }, keep: () => {} }, (job) =>
        followMove({ driver, context, job, copyId: copy.id }),
      )
}

/** Has emulators let go of copies in a pool that answers again, which were given up while it did not. */
export async function settleMovesTo(pool: Pick<PoolRecord, 'name'>, context: Context): Promise<void> {
  const { store, log } = context.ports
  for (const volume of store.volumes.list()) {
    const { pool: place, move } = volume
    const driver = move && context.drivers.get(move.vmId)
    if (!driver || place !== pool.name || stepOf({ ...volume, move }) !== 'deleting') continue
    await driver
      .take('edit', (seat) => settleMoves(seat, context.ports))
      .catch((error: unknown) =>
        log.warn({ vm: driver.view().record.name, err: error }, 'a copy of a disk is still to be removed'),
      )
  }
}

function begin(
  kind: 'vm.move-disk' | 'vm.export',
  driver: Driver,
  { context, caller, keep }: Asked,
  work: (job: JobHandle) => Promise<string>,
): Job {
  const { record } = driver.view()
  return context.jobs.run(
    {
      kind,
      subject: { kind: 'vm', name: record.name, id: record.id },
      owner: caller.name,
      deadlineMs: moveDeadlineMs,
      alongside: keep,
    },
    work,
  )
}
