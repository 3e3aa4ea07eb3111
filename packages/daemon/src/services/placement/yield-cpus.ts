/**
 * VMs that are not placed run wherever the scheduler likes, but not on CPUs that a dedicated VM has for itself: they leave them when it
 * starts, and come back when it ends.
 *
 * Whoever is busy at that moment is asked again; a VM that starts looks for itself, before its guest runs and once more when it runs.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { planRunning, threadPlan } from '../vms/tune-threads.ts'
import { dedicatedAmong, drivenRecords } from './dedicated-cpus.ts'

type YieldContext = Pick<Context, 'ports' | 'drivers'>

/** How often and how long a VM is asked whose seat is taken. */
const mostTries = 30
const betweenTriesMs = 1_000

/** VMs that are asked at one time, and how long somebody who asks waits for them. */
const atOnce = 8
const patienceMs = 1_000

/** Asks every running VM that is not placed to run where it may now. Waits a moment for those that are not busy; the others follow. */
export async function yieldCpus(context: YieldContext): Promise<void> {
  const floating = context.drivers.list().filter((driver) => {
    const { record, emulator } = driver.view()
    return emulator !== undefined && !isOff(record) && isFloating(record)
  })
  if (floating.length === 0) return
  const asked = askAll(floating, context).then((busy) => {
    if (busy.length > 0) void askAgain(busy, context)
  })
  const waited = new AbortController()
  const { clock } = context.ports
  await Promise.race([asked, clock.sleep(patienceMs, waited.signal).catch(() => {})])
  waited.abort()
}

/** Moves a VM off the CPUs that others have for themselves before its guest runs; answers these CPUs. */
export async function yieldAtStart(
  { record }: Pick<Seat, 'record'>,
  emulator: Emulator,
  { ports, drivers }: YieldContext,
): Promise<readonly number[]> {
  const taken = dedicatedAmong(drivenRecords(drivers), record.id)
  if (isFloating(record) && taken.length > 0)
    await emulator.threads.apply(threadPlan(record, await ports.host.cpuSets(), taken))
  return taken
}

/** Looks once more when it runs: a dedicated VM that started meanwhile found it busy. */
export async function yieldSinceStart(
  seat: Seat,
  known: readonly number[],
  context: YieldContext,
): Promise<void> {
  const taken = dedicatedAmong(drivenRecords(context.drivers), seat.record.id)
  if (taken.join() !== known.join()) await yieldSeat(seat, context)
}

async function askAgain(drivers: readonly Driver[], context: YieldContext): Promise<void> {
  let left = drivers
  for (let attempt = 0; attempt < mostTries && left.length > 0; attempt++) {
    await context.ports.clock.sleep(betweenTriesMs)
    left = await askAll(left, context)
  }
}

/** Asks them, so that one that does not answer holds up few; answers those that are busy. */
async function askAll(drivers: readonly Driver[], context: YieldContext): Promise<readonly Driver[]> {
  const left = [...drivers]
  const busy: Driver[] = []
  const work = async () => {
    for (let driver = left.shift(); driver; driver = left.shift())
      if (!(await askToYield(driver, context))) busy.push(driver)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return busy
}

/** False when somebody else sits. */
async function askToYield(driver: Driver, context: YieldContext): Promise<boolean> {
  try {
    await driver.take('edit', (seat) => yieldSeat(seat, context))
    return true
  } catch (error) {
    // Whatever else forbids it, such as a VM that is being deleted, ends it too.
    return !(error instanceof KvasirError && error.code === 'busy')
  }
}

/** A VM that does not let itself be moved is told of in the log, and keeps nobody from running. */
async function yieldSeat(seat: Seat, { ports, drivers }: YieldContext): Promise<void> {
  const { emulator, record } = seat
  if (!emulator || !record.run || !isFloating(record)) return
  const taken = dedicatedAmong(drivenRecords(drivers), record.id)
  if (taken.length === 0 && !record.run.tuned) return
  try {
    if (!record.run.tuned) seat.update({ run: { ...record.run, tuned: true } })
    const host = await ports.host.cpuSets()
    await emulator.threads.apply(await planRunning(record, emulator, { host, taken }))
  } catch (cause) {
    ports.log.warn({ vm: record.name, err: cause }, 'a VM may run on CPUs that another has for itself')
  }
}

/** Whether the scheduler of the host places it. */
function isFloating({ placement, placementLost }: Pick<VmRecord, 'placement' | 'placementLost'>): boolean {
  return placement === undefined && placementLost === undefined
}
