/**
 * Brings devices to a guest that runs and takes them away, one after another, and says how far the guest went.
 *
 *     row: spec, names ─┬▶ the spec has it: bring it ──────────────────────────────▶ row: the run has it ──────▶ not moving
 *                       └▶ else: ask the guest ─▶ it let go ─▶ remove what is left ─▶ row: the run has it not ──┘
 *
 * Invariant: what `bootedSpec` of the run has of a kind is what the emulator has. A daemon that dies in between leaves the names, and the next
 * one goes on. The seat is given back while the guest is waited for.
 */
import { KvasirError } from '@kvasir/contract'
import type { Driver } from '../../ports/drivers.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { MovingAnswers } from './moving-answers.ts'
import { capital, type MovingKind, type MovingTask, type MovingWork } from './moving-kind.ts'
import { withoutMoving } from './names-to-move.ts'
import { releaseTimeoutMs, takeAway } from './take-away.ts'
import { longestWaitMs, takeWhenFree } from './take-when-free.ts'

/** The longest that the whole of it may take for this many devices. */
export function movingDeadlineMs({ bringMs }: MovingKind, devices: number): number {
  return longestWaitMs + (releaseTimeoutMs + bringMs) * devices
}

/** Does it. Answers what came of it; the first refusal when one or more did not come, go or change. */
export async function setMoving(
  kind: MovingKind,
  driver: Driver,
  { context, work }: { readonly context: Context; readonly work: MovingWork },
): Promise<string> {
  const { emulator } = driver.view()
  if (!emulator) throw notRunning(kind, driver)
  using answers = new MovingAnswers(emulator, kind)
  const { ports, networks, drivers } = context
  const inSeat: MovingTask['inSeat'] = (inside) =>
    takeWhenFree(driver, { ports, signal: work.signal }, async (seat) => {
      if (!seat.record.run || seat.emulator !== emulator) throw notRunning(kind, driver)
      return await inside(seat)
    })
  const task: MovingTask = { ...work, kind, driver, ports, networks, drivers, emulator, answers, inSeat }
  const words: string[] = []
  const refusals: unknown[] = []
  for (let name = next(task); name !== undefined; name = next(task)) {
    try {
      words.push(await move(name, task))
    } catch (error) {
      // A daemon that leaves has given nothing up.
      if (error instanceof KvasirError && error.code === 'shutting-down') throw error
      await giveUp(name, task)
      refusals.push(stillWanted(kind, { name, error, record: driver.view().record }))
    }
  }
  if (refusals.length > 0) throw refusals[0]
  return words.join(' ')
}

function next({ kind, driver }: MovingTask): string | undefined {
  return driver.view().record.run?.[kind.field]?.[0]
}

async function move(name: string, task: MovingTask): Promise<string> {
  const { kind, driver } = task
  const isWanted = kind.names(driver.view().record.spec).includes(name)
  if (!isWanted) return await takeAway(name, task)
  return await task.inSeat((seat) => kind.bring(seat, name, task))
}

async function giveUp(name: string, { kind, driver, ports }: MovingTask): Promise<void> {
  try {
    await driver.take('edit', async (seat) => {
      if (seat.record.run) seat.update({ run: withoutMoving(seat.record.run, kind.field, name) })
    })
  } catch (error) {
    // The next daemon would go on with it, which does no harm. What is not written down would be tried for ever.
    ports.log.warn(
      { vm: driver.view().record.name, device: name, err: error },
      `a ${kind.noun} is still to come or go`,
    )
    throw error
  }
}

/** The spec is what was asked for, whatever became of it: who is told of a device that did not come is told that it will. */
function stillWanted(
  kind: MovingKind,
  { name, error, record }: { readonly name: string; readonly error: unknown; readonly record: VmRecord },
): unknown {
  const { noun, takeOut } = kind
  const { spec, run } = record
  const isThere = run !== undefined && kind.names(run.bootedSpec).includes(name)
  if (!(error instanceof KvasirError) || !kind.names(spec).includes(name) || isThere) return error
  return new KvasirError(
    error.code,
    `${error.message} ${capital(noun)} ${name} is in the spec of VM ${record.name} all the same and comes with its next boot; kvasir vm ${takeOut(record.name, name)} takes it out.`,
    { details: { ...error.details, device: name }, cause: error },
  )
}

function notRunning({ noun }: MovingKind, driver: Driver): KvasirError {
  const { name, life } = driver.view().record
  return new KvasirError(
    'wrong-state',
    `VM ${name} is ${life.state}, so its ${noun}s are not changed now; its next boot brings what its spec says.`,
    { details: { state: life.state } },
  )
}
