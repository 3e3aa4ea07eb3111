/**
 * The handlers of checkpoints.
 *
 *     row `creating` ─▶ a bitmap on each disk, at one instant ─▶ row `ready`        the row goes ─▶ its bitmaps go
 *
 * Whatever breaks these off leaves a row that is dropped, or bitmaps of no row, which are removed (checkpoint-rows.ts).
 */
import { type Checkpoint, KvasirError } from '@kvasir/contract'
import {
  bitmapName,
  bitmapPrefix,
  type DiskBitmap,
  judgeCheckpoint,
} from '../../model/storage/checkpoint-state.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { CheckpointRecord, VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import type { HandlerRequest, Handlers } from '../handlers.ts'
import { requireBooted } from '../moves/begin-move.ts'
import { requireSettled } from '../snapshots/find-snapshot.ts'
import {
  checkpointsOf,
  planCheckpoint,
  requireCheckpoint,
  settleCheckpoints,
  wantedDisks,
  withCheckpoint,
  withoutCheckpoint,
} from './checkpoint-rows.ts'

type CheckpointHandlerIds = 'listCheckpoints' | 'createCheckpoint' | 'deleteCheckpoint'

/** The handlers of everything under `/v1/vms/{name}/checkpoints`. */
export function createCheckpointHandlers({ drivers, ports }: Context): Pick<Handlers, CheckpointHandlerIds> {
  const { failpoint } = ports
  const make = async (
    seat: Seat,
    { body, keep }: Pick<HandlerRequest<'createCheckpoint'>, 'body' | 'keep'>,
  ): Promise<Checkpoint> => {
    await settleCheckpoints(seat)
    const { emulator } = seat
    if (!emulator) throw notRunning(seat.record)
    requireSettled(seat.record, ports)
    const disks = wantedDisks(seat.record, body.disks)
    for (const disk of disks) requireBooted(seat.record, { disk }, 'given a checkpoint')
    const names = disks.map(({ name }) => name)
    const checkpoint = planCheckpoint(seat.record, { ...body, disks: names }, ports)
    await failpoint('checkpoint.create.before-row')
    seat.update(withCheckpoint(seat.record, checkpoint))
    try {
      await failpoint('checkpoint.create.after-row')
      await emulator.blocks.instants.beginBitmaps(bitmapName(checkpoint.id), names)
      await failpoint('checkpoint.create.after-bitmaps')
    } catch (error) {
      await settleCheckpoints(seat).catch(() => {}) // What made it fail says more; it is settled before the next one.
      throw error
    }
    const name = bitmapName(checkpoint.id)
    const begun = names.map((disk) => ({ disk, name, isWhole: true, changedBytes: 0 }))
    const made = show(checkpoint, seat.record, begun)
    seat.update(withCheckpoint(seat.record, { ...checkpoint, phase: 'ready' }), () => keep(made))
    await failpoint('checkpoint.create.after-ready')
    return made
  }
  return {
    async listCheckpoints({ params }) {
      const { record, emulator } = drivers.find(params.name).view()
      const checkpoints = checkpointsOf(record)
      if (checkpoints.length === 0) return []
      const bitmaps = await emulator?.blocks.instants.bitmaps(
        record.spec.disks.map(({ name }) => name),
        bitmapPrefix,
      )
      return checkpoints.map((one) => show(one, record, bitmaps))
    },
    createCheckpoint: (request) =>
      drivers.find(request.params.name).take('merge', (seat) => make(seat, request)),
    async deleteCheckpoint({ params }) {
      const driver = drivers.find(params.name)
      await driver.take('merge', async (seat) => {
        const checkpoint = requireCheckpoint(seat.record, params.checkpoint)
        seat.update(withoutCheckpoint(seat.record, checkpoint))
        await failpoint('checkpoint.delete.after-row')
        await settleCheckpoints(seat).catch((err: unknown) =>
          ports.log.warn({ vm: seat.record.name, err }, 'bitmaps of a checkpoint are still to be removed'),
        )
        await failpoint('checkpoint.delete.after-bitmaps')
      })
      return undefined
    },
  }
}

/** Drops what a former daemon left of checkpoints. */
export async function resumeCheckpoints(driver: Driver): Promise<void> {
  if (driver.view().record.checkpoints === undefined) return
  await driver.take('edit', (seat) => settleCheckpoints(seat))
}

function show(
  checkpoint: CheckpointRecord,
  vm: Pick<VmRecord, 'name'>,
  bitmaps: readonly DiskBitmap[] | undefined,
): Checkpoint {
  const { id, name, description, createdAt, disks } = checkpoint
  return {
    id,
    vm: vm.name,
    name,
    description,
    createdAt,
    disks: disks.map((disk) => {
      if (bitmaps === undefined) return { disk, state: 'unknown' }
      const state = judgeCheckpoint(checkpoint, disk, bitmaps)
      return state.kind === 'usable'
        ? { disk, state: state.kind, changedBytes: state.changedBytes }
        : { disk, state: state.kind, reason: state.reason }
    }),
  }
}

function notRunning({ name, life }: VmRecord): KvasirError {
  return new KvasirError(
    'wrong-state',
    `VM ${name} is ${life.state}, so nothing notes what is written to its disks and there is no checkpoint of it.`,
  )
}
