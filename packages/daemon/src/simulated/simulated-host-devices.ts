/** The devices of the host that a simulated emulator has, and a guest that lets go of them or does not, as a test wants. */
import type { HostDevicePlan } from '../model/qemu/host-devices.ts'
import { deviceId } from '../model/qemu/ids.ts'
import type { EmulatorHostDevices } from '../ports/emulator-host-devices.ts'
import type { EmulatorEvent } from '../ports/emulators.ts'
import type { EmulatorProcess } from './emulator-process.ts'

interface Guest {
  readonly later: (work: () => void) => void
  readonly tell: (event: EmulatorEvent) => void
}

export class GuestHostDevices {
  /** What the guest has, by name. */
  readonly plugged = new Map<string, HostDevicePlan>()
  /** What was handed over last, by name: also NICs. */
  readonly handed = new Map<string, HostDevicePlan>()
  /** The addresses of what no driver of the host has. */
  readonly lent = new Set<string>()
  /** Whether the guest lets go: at once when asked, never, or with a refusal. */
  release: 'willing' | 'silent' | 'refusing' = 'willing'
  readonly #guest: Guest

  constructor(guest: Guest) {
    this.#guest = guest
  }

  askFor(name: string): void {
    if (this.release !== 'silent') this.#guest.later(() => this.answer(name))
  }

  /** The guest lets go of a device, or refuses to: asked, or by itself. */
  answer(name: string): void {
    if (!this.plugged.has(name)) return
    const isGone = this.release !== 'refusing'
    if (isGone) this.plugged.delete(name)
    this.#guest.tell({ kind: 'host-device', answer: { device: deviceId('host', name), isGone } })
  }
}

export class SimulatedHostDevices implements EmulatorHostDevices {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async plug(plan: HostDevicePlan): Promise<void> {
    await this.#process.answer()
    this.#process.hostDevices.lent.add(plan.address)
    this.#process.hostDevices.handed.set(plan.name, plan)
    if (plan.vf) {
      this.#process.nics.plugged.set(plan.name, { device: deviceId('nic', plan.name), netdev: '' })
      return
    }
    this.#process.hostDevices.plugged.set(plan.name, plan)
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    await this.#process.answer()
    return names.filter((name) => this.#process.hostDevices.plugged.has(name))
  }

  async askFor(name: string): Promise<void> {
    await this.#process.answer()
    this.#process.hostDevices.askFor(name)
  }

  async remove({ address }: { readonly address: string }): Promise<void> {
    await this.#process.answer()
    this.#process.hostDevices.lent.delete(address)
  }
}
