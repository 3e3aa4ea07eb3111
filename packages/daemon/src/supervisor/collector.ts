/**
 * The collector: looks at running VMs in the background, so that whoever reads gets an answer at once.
 *
 * It looks while somebody is interested: each read of the list asks for samples that are fresh by the next one. A VM whose emulator
 * does not answer keeps its last sample; nobody waits for it.
 */
import type { Driver } from '../ports/drivers.ts'
import type { Emulator } from '../ports/emulators.ts'

/** A sample older than this is taken again when somebody looks. */
const sampleAgeMs = 1_000
/** How often a guest with an agent is asked who it is. */
const identityAgeMs = 30_000
/** VMs looked at at one time. */
const atOnce = 8

export class Collector {
  readonly #sampledAt = new WeakMap<Emulator, number>()
  readonly #identifiedAt = new WeakMap<Emulator, number>()
  readonly #lookingAt = new WeakSet<Emulator>()
  readonly #pending: Driver[] = []
  readonly #queued = new Set<string>()
  #workers = 0

  /** Says that somebody looks at these VMs. Returns at once. */
  noteInterest(drivers: readonly Driver[]): void {
    for (const driver of drivers) {
      const { emulator } = driver.view()
      if (!emulator || this.#queued.has(driver.id)) continue
      const age = performance.now() - (this.#sampledAt.get(emulator) ?? Number.NEGATIVE_INFINITY)
      if (age < sampleAgeMs) continue
      this.#queued.add(driver.id)
      this.#pending.push(driver)
    }
    while (this.#workers < atOnce && this.#pending.length > 0) {
      this.#workers++
      void this.#work().finally(() => {
        this.#workers--
      })
    }
  }

  /** Says that somebody looks closely at one VM: what costs more to see is looked at too, once at a time. Returns at once. */
  noteCloseInterest(driver: Driver): void {
    this.noteInterest([driver])
    const { emulator } = driver.view()
    if (!emulator || this.#lookingAt.has(emulator)) return
    this.#lookingAt.add(emulator)
    void emulator.memory
      .held()
      .then((held) => driver.remember({ held }))
      .catch(() => {}) // What was last seen stays.
      .finally(() => this.#lookingAt.delete(emulator))
  }

  async #work(): Promise<void> {
    for (let driver = this.#pending.shift(); driver; driver = this.#pending.shift()) {
      const { emulator } = driver.view()
      if (emulator) await this.#sample(driver, emulator)
      this.#queued.delete(driver.id)
    }
  }

  async #sample(driver: Driver, emulator: Emulator): Promise<void> {
    this.#sampledAt.set(emulator, performance.now())
    try {
      driver.remember({ statistics: await emulator.statistics() })
    } catch {
      // Its last sample stays.
    }
    if (emulator.agent.isConnected()) await this.#identify(driver, emulator)
  }

  async #identify(driver: Driver, emulator: Emulator): Promise<void> {
    const age = performance.now() - (this.#identifiedAt.get(emulator) ?? Number.NEGATIVE_INFINITY)
    if (age < identityAgeMs) return
    this.#identifiedAt.set(emulator, performance.now())
    try {
      const identity = await emulator.agent.identity()
      driver.remember({
        guest: { agent: 'connected', ...identity, memory: await emulator.agent.memory() },
      })
    } catch {
      this.#identifiedAt.delete(emulator)
      driver.remember({ guest: { agent: 'connected', hostname: undefined, os: undefined, interfaces: [] } })
    }
  }
}
