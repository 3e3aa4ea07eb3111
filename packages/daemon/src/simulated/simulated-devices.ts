/** The small devices that a simulated emulator has, and a guest that lets go of those on PCI or does not, as a test wants. */
import { KvasirError } from '@kvasir/contract'
import type { EmulatorPlan } from '../model/qemu/emulator-plan.ts'
import { type SmallDevicePlan, smallDevices } from '../model/qemu/small-devices.ts'
import type { EmulatorDevices } from '../ports/emulator-devices.ts'
import type { EmulatorEvent } from '../ports/emulators.ts'
import type { EmulatorProcess } from './emulator-process.ts'

interface Guest {
  readonly later: (work: () => void) => void
  readonly tell: (event: EmulatorEvent) => void
  /** What a balloon had taken is the guest's again. */
  readonly hasAll: () => void
}

/** A device as QEMU is told of it. */
type Device = Readonly<Record<string, unknown>>

export class GuestDevices {
  /** What the guest has, by name. */
  readonly plugged: Map<string, Device>
  /** The objects that were made while it ran. */
  readonly objects = new Set<string>()
  /** Whether the guest lets go: at once when asked, never, or with a refusal. */
  release: 'willing' | 'silent' | 'refusing' = 'willing'
  readonly #guest: Guest

  constructor({ argv }: Pick<EmulatorPlan, 'argv'>, guest: Guest) {
    const said = argv.flatMap((word, at): Device[] =>
      argv[at - 1] === '-device' && word.startsWith('{') ? [JSON.parse(word)] : [],
    )
    const own = said.filter(({ id }) => smallDevices.some((name) => name === id))
    this.plugged = new Map(own.map((device) => [String(device['id']), device]))
    this.#guest = guest
  }

  askFor(name: string): void {
    if (String(this.plugged.get(name)?.['bus']).startsWith('usb')) this.#release(name, true)
    else if (this.release !== 'silent') this.#guest.later(() => this.answer(name))
  }

  /** The guest lets go of a device, or refuses to: asked, or by itself. */
  answer(name: string): void {
    if (this.plugged.has(name)) this.#release(name, this.release !== 'refusing')
  }

  #onUsb(): readonly string[] {
    return [...this.plugged].flatMap(([name, { bus }]) => (String(bus).startsWith('usb') ? [name] : []))
  }

  #release(name: string, isGone: boolean): void {
    if (isGone) this.plugged.delete(name)
    if (isGone && name === 'balloon') this.#guest.hasAll()
    if (isGone && name === 'usb') for (const one of this.#onUsb()) this.#release(one, true)
    if (name === 'usb' && isGone) return // As QEMU (services/vms/set-devices.ts).
    this.#guest.tell({ kind: 'device', answer: { device: name, isGone } })
  }
}

export class SimulatedDevices implements EmulatorDevices {
  readonly #process: EmulatorProcess

  constructor(process: EmulatorProcess) {
    this.#process = process
  }

  async plug({ name, objects, device }: SmallDevicePlan): Promise<void> {
    await this.#process.answer()
    const { plugged } = this.#process.devices
    if (device['bus'] === 'usb.0' && !plugged.has('usb'))
      throw new KvasirError('host-failed', "QEMU refused the device: Bus 'usb.0' not found.")
    for (const { id } of objects) this.#process.devices.objects.add(id)
    this.#process.devices.plugged.set(name, device)
  }

  async present(names: readonly string[]): Promise<readonly string[]> {
    await this.#process.answer()
    return names.filter((name) => this.#process.devices.plugged.has(name))
  }

  async askFor(name: string): Promise<void> {
    await this.#process.answer()
    this.#process.devices.askFor(name)
  }

  async remove(name: string): Promise<void> {
    await this.#process.answer()
    if (name === 'rng') this.#process.devices.objects.clear()
  }
}
