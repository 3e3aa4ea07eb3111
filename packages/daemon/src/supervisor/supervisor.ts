/**
 * The supervisor: the drivers of all VMs, by id and by name, and the checks that keep them true.
 *
 * Every `checkIntervalMs` each running VM's emulator is asked for its state: events are hints that may get lost.
 */
import { KvasirError } from '@kvasir/contract'
import { isOff } from '../model/vm/is-off.ts'
import type { Driver, Drivers } from '../ports/drivers.ts'
import type { VmRecord } from '../ports/store.ts'
import { type DriverParts, VmDriver } from './vm-driver.ts'

/** How often every emulator is asked for its state. */
const checkIntervalMs = 10_000
const firstCheckMs = 1_000

export class Supervisor implements Drivers {
  readonly #drivers = new Map<string, VmDriver>()
  readonly #parts: DriverParts
  #timer: NodeJS.Timeout | undefined
  #firstCheck: NodeJS.Timeout | undefined

  constructor(parts: DriverParts) {
    this.#parts = parts
  }

  find(name: string): VmDriver {
    for (const driver of this.#drivers.values()) if (driver.view().record.name === name) return driver
    throw new KvasirError('vm-not-found', `There is no VM ${name}.`)
  }

  get(id: string): VmDriver | undefined {
    return this.#drivers.get(id)
  }

  list(): readonly VmDriver[] {
    return [...this.#drivers.values()]
  }

  add(record: VmRecord): VmDriver {
    const driver = new VmDriver(record, this.#parts)
    this.#drivers.set(record.id, driver)
    return driver
  }

  remove(id: string): void {
    this.#drivers.delete(id)
  }

  /** Begins the periodic checks; the first comes soon, for emulators that answered too late for recovery. */
  watch(): void {
    this.#firstCheck = setTimeout(() => void this.check(), firstCheckMs)
    this.#firstCheck.unref()
    this.#timer = setInterval(() => void this.check(), checkIntervalMs)
    this.#timer.unref()
  }

  /** Asks the emulators of all VMs that are not off and with which nothing is being done. */
  async check(): Promise<void> {
    await Promise.all(
      this.list()
        .filter(needsCheck)
        .map((driver) => driver.reconcile()),
    )
  }

  /** Lets go of all VMs; their emulators run on. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    clearTimeout(this.#firstCheck)
    const reason = new KvasirError('shutting-down', 'The daemon is shutting down.')
    await Promise.allSettled(this.list().map((driver) => driver.leave(reason)))
  }
}

function needsCheck(driver: Driver): boolean {
  const { record, emulator, busyWith } = driver.view()
  return busyWith === undefined && (emulator !== undefined || !isOff(record))
}
