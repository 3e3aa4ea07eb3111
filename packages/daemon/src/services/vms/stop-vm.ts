/** Ends a VM: at once (power-off), or by asking its guest (shutdown, reboot). */
import type { VmState } from '@kvasir/contract'
import { KvasirError } from '@kvasir/contract'
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

/** Asks the guest to shut down and waits until it has; powers off when it did not and `escalate` is set. */
export async function shutdownVm(driver: Driver, ports: Ports, request: ShutdownRequest): Promise<void> {
  const asked = await driver.take('shutdown', async (seat) => {
    const how = await askGuest(seat, 'powerdown', request.mode)
    seat.update({ intent: 'stop', life: seat.life('stopping', `its guest was asked to shut down by ${how}`) })
    return how
  })
  request.onStep(`waiting for the guest to shut down (asked by ${asked})`)
  if (await reaches(driver, ['shutoff', 'crashed', 'saved'], request)) return
  request.signal.throwIfAborted()
  if (request.escalate) {
    request.onStep('powering off')
    await powerOffVm(driver, ports)
    return
  }
  const { name } = driver.view().record
  await driver.take('edit', async (seat) => {
    if (seat.record.life.state !== 'stopping') return
    seat.update({
      intent: 'none',
      life: seat.life('running', 'its guest was asked to shut down and did not'),
    })
  })
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
  const before = driver.view().record.life.since
  await driver.take('reboot', async (seat) => {
    const { emulator } = seat
    if (emulator?.agent.isConnected()) {
      await emulator.agent.shutdown('reboot')
      return
    }
    seat.update({
      intent: 'reboot',
      life: seat.life('stopping', 'its guest was asked to reboot by the power button'),
    })
    await emulator?.pressPowerButton()
  })
  request.onStep('waiting for the guest')
  const { record } = driver.view()
  if (record.intent !== 'reboot' || record.life.since === before) return
  if (await reaches(driver, ['running'], request)) return
  await driver.take('edit', async (seat) => {
    if (seat.record.life.state !== 'stopping') return
    seat.update({ intent: 'none', life: seat.life('running', 'its guest was asked to reboot and did not') })
  })
  throw new KvasirError(
    'guest-refused',
    `VM ${record.name} was asked to reboot and did not within ${request.timeoutMs / 1000} s, so it runs on.`,
  )
}

async function reaches(
  driver: Driver,
  states: readonly VmState[],
  wait: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<boolean> {
  try {
    await driver.until(states, wait)
    return true
  } catch {
    return false
  }
}

async function askGuest(seat: Seat, what: 'powerdown', mode: ShutdownRequest['mode']): Promise<string> {
  const { emulator, record } = seat
  if (!emulator)
    throw new KvasirError('wrong-state', `VM ${record.name} has no emulator, so nobody can be asked.`)
  if (mode === 'agent' || (mode === 'auto' && emulator.agent.isConnected())) {
    try {
      await emulator.agent.shutdown(what)
      return 'the guest agent'
    } catch (error) {
      if (mode === 'agent') throw error
    }
  }
  await emulator.pressPowerButton()
  return 'the power button'
}
