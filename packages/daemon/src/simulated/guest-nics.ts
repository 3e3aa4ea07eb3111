/** The NICs of a simulated QEMU process, and a guest that lets go of them or does not, as a test wants. */
import type { NicSpec } from '@kvasir/contract'
import type { EmulatorPlan } from '../model/qemu/emulator-plan.ts'
import { deviceId } from '../model/qemu/ids.ts'
import type { EmulatorEvent } from '../ports/emulators.ts'

interface Guest {
  readonly later: (work: () => void) => void
  readonly tell: (event: EmulatorEvent) => void
}

export class GuestNics {
  /** By name. */
  readonly plugged: Map<string, EmulatorPlan['ids']['nics'][string]>
  /** Each cable that was put in or taken out since the start, the last one last. */
  readonly links: { readonly nic: string; readonly link: NicSpec['link'] }[] = []
  /** Those whose tap somebody has taken from the host, and those whose back end was ended, by name. */
  readonly lostTaps = new Set<string>()
  readonly cutOff = new Set<string>()
  readonly #guest: Guest

  /** Whether the guest lets go: at once when asked, never, or with a refusal. */
  release: 'willing' | 'silent' | 'refusing' = 'willing'

  constructor({ ids, vfs = [] }: Pick<EmulatorPlan, 'ids' | 'vfs'>, guest: Guest) {
    this.plugged = new Map(Object.entries(ids.nics))
    for (const { nic } of vfs) this.plugged.set(nic, { device: deviceId('nic', nic), netdev: '' })
    this.#guest = guest
  }

  /** The guest is asked to let go of a NIC. */
  askFor(nic: string): void {
    if (this.release !== 'silent') this.#guest.later(() => this.answer(nic))
  }

  /** The guest lets go of a NIC, or refuses to: asked, or by itself. */
  answer(nic: string): void {
    const device = this.plugged.get(nic)?.device
    if (device === undefined) return
    const isGone = this.release !== 'refusing'
    if (isGone) this.plugged.delete(nic)
    this.#guest.tell({ kind: 'nic', answer: { device, isGone } })
  }

  /** The process that serves a NIC of the mode `user` has ended. */
  loseNetwork(nic: string): void {
    this.#guest.tell({ kind: 'network-lost', netdev: this.plugged.get(nic)?.netdev ?? nic })
  }
}
