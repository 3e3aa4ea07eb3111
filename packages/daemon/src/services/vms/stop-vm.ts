/** Ends a VM: at once (power-off), or by asking its guest (shutdown, reboot). */
import type { VmState } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../../model/vm/is-off.ts'
import type { Driver, Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import { endEmulator } from './end-emulator.ts'

/** Cuts the power, whatever else is being done to the VM. A start that is under way is ended and undone. */
export async function powerOffVm(driver: Driver, ports: Ports): Promise<void> {
  const { record, busyWith } = driver.view()
  const wasStarting = record.life.state === 'starting' || busyWith === 'start'
  try {
    await driver.take(
      'power-off',
      (seat) => endEmulator(seat, ports, { state: 'shutoff', reason: 'it was powered off' }),
      { preempt: true },
    )
  } catch (error) {
    const isOffAlready = error instanceof KvasirError && error.code === 'wrong-state' && wasStarting
    if (!isOffAlready) throw error
  }
}

export interface ShutdownRequest {
  readonly mode: 'auto' | 'agent' | 'acpi'
  readonly timeoutMs: number
  readonly escalate: boolean
  readonly signal: AbortSignal
  readonly onStep: (step: string) => void
}

/**
 * Asks the guest to shut down and waits until it has; powers off when it did not and `escalate` is set. A guest that stands meanwhile
 * (its disk is full, it panicked) cannot shut down, so nobody waits for it.
 */
export async function shutdownVm(driver: Driver, ports: Ports, request: ShutdownRequest): Promise<void> {
  const asked = await driver.take('shutdown', async (seat) => {
    const how = await askGuest(seat, 'powerdown', request.mode)
    seat.update({ intent: 'stop', life: seat.life('stopping', `its guest was asked to shut down by ${how}`) })
    return how
  })
  request.onStep(`waiting for the guest to shut down (asked by ${asked})`)
  const reached = await reaches(driver, ['shutoff', 'crashed', 'saved', 'paused', 'running'], request)
  if (reached === 'running') throw superseded(driver, asked)
  if (reached !== undefined && reached !== 'paused') return
  await stopAskingIfCancelled(driver, request.signal)
  if (request.escalate) {
    request.onStep('powering off')
    await powerOffUnlessOff(driver, ports)
    return
  }
  if (reached === 'paused') throw await stoodStill(driver, 'shut down')
  const { name } = driver.view().record
  await driver.take('edit', async (seat) => giveUpAsking(seat, 'and did not'))
  throw new KvasirError(
    'guest-refused',
    `VM ${name} was asked to shut down by ${asked} and did not within ${request.timeoutMs / 1000} s, so it runs on.`,
  )
}

/**
 * Asks the guest to reboot: by its agent where that answers, else by the power button; the shutdown that follows then becomes a reset
 * (settle.ts), since ACPI has no button for a reboot.
 */
export async function rebootVm(
  driver: Driver,
  request: Omit<ShutdownRequest, 'mode' | 'escalate'>,
): Promise<void> {
  await driver.take('reboot', async (seat) => {
    if (await asksAgent(seat, 'reboot')) return
    const { life } = seat.record
    seat.update({
      intent: 'reboot',
      life: seat.life('stopping', 'its guest was asked to reboot by the power button'),
    })
    try {
      await seat.emulator?.pressPowerButton()
    } catch (error) {
      seat.update({ intent: 'none', life })
      throw error
    }
  })
  request.onStep('waiting for the guest')
  const { record } = driver.view()
  if (record.intent !== 'reboot') return
  const reached = await reaches(driver, ['running', 'paused', 'shutoff', 'crashed'], request)
  if (reached === 'running') return
  await stopAskingIfCancelled(driver, request.signal)
  if (reached === 'paused') throw await stoodStill(driver, 'reboot')
  if (reached !== undefined) throw endedInstead(driver)
  await driver.take('edit', async (seat) => giveUpAsking(seat, 'and did not'))
  throw new KvasirError(
    'guest-refused',
    `VM ${record.name} was asked to reboot and did not within ${request.timeoutMs / 1000} s, so it runs on.`,
  )
}

/** Somebody let the guest go on in the middle of its shutdown, which is over with that. */
function superseded(driver: Driver, asked: string): KvasirError {
  const { name, life } = driver.view().record
  return new KvasirError(
    'cancelled',
    `VM ${name} was asked to shut down by ${asked} and goes on since (${life.reason}), so its shutdown is not waited for any more.`,
  )
}

/** A guest that stands does nothing until it is resumed, and then what its user wants then: the question is taken back. */
async function stoodStill(driver: Driver, what: 'shut down' | 'reboot'): Promise<KvasirError> {
  const { name, life } = driver.view().record
  await driver.take('edit', async (seat) => {
    const { intent } = seat.record
    if (intent === 'stop' || intent === 'reboot') seat.update({ intent: 'none' })
  })
  return new KvasirError(
    'wrong-state',
    `VM ${name} was asked to ${what} and is paused (${life.reason}), so it does not; resume it and ask again, or power it off.`,
    { details: { state: life.state, reason: life.reason } },
  )
}

function endedInstead(driver: Driver): KvasirError {
  const { name, life } = driver.view().record
  return new KvasirError(
    'guest-refused',
    `VM ${name} was asked to reboot and is ${life.state} (${life.reason}), so it has not rebooted.`,
  )
}

/** The guest goes on as if nobody had asked it. */
export function giveUpAsking(seat: Seat, how: string): void {
  const { life, intent } = seat.record
  if (life.state !== 'stopping') return
  const asked = intent === 'reboot' ? 'reboot' : 'shut down'
  seat.update({ intent: 'none', life: seat.life('running', `its guest was asked to ${asked} ${how}`) })
}

/** Who cancels takes the question back. A daemon that leaves does not: the next one goes on waiting. */
async function stopAskingIfCancelled(driver: Driver, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) return
  const { reason } = signal
  const isLeaving = reason instanceof KvasirError && reason.code === 'shutting-down'
  if (!isLeaving) await driver.take('edit', async (seat) => giveUpAsking(seat, 'until that was cancelled'))
  throw reason
}

/** A guest that went down at the last moment needs no power cut. */
async function powerOffUnlessOff(driver: Driver, ports: Ports): Promise<void> {
  try {
    await powerOffVm(driver, ports)
  } catch (error) {
    if (!isOff(driver.view().record)) throw error
  }
}

/** The first of some states that the VM gets into; undefined when it gets into none in time, or that was cancelled. */
async function reaches(
  driver: Driver,
  states: readonly VmState[],
  wait: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<VmState | undefined> {
  try {
    return await driver.until(states, wait)
  } catch {
    return undefined
  }
}

async function askGuest(seat: Seat, what: 'powerdown', mode: ShutdownRequest['mode']): Promise<string> {
  const { emulator, record } = seat
  if (!emulator)
    throw new KvasirError('wrong-state', `VM ${record.name} has no emulator, so nobody can be asked.`)
  if (mode === 'agent') {
    await emulator.agent.shutdown(what)
    return 'the guest agent'
  }
  if (mode === 'auto' && (await asksAgent(seat, what))) return 'the guest agent'
  await emulator.pressPowerButton()
  return 'the power button'
}

/** Whether the guest's agent took the request. Where it does not, there is still the power button. */
async function asksAgent({ emulator }: Seat, what: 'powerdown' | 'reboot'): Promise<boolean> {
  if (!emulator?.agent.isConnected()) return false
  try {
    await emulator.agent.shutdown(what)
    return true
  } catch {
    return false
  }
}
