/** The channels of a simulated QEMU process: sockets, and ports that go without the guest's leave. */
import { channelPortId } from '../model/qemu/channels.ts'
import type { ChannelIds, EmulatorPlan } from '../model/qemu/emulator-plan.ts'
import type { EmulatorEvent } from '../ports/emulators.ts'

export class GuestChannels {
  /** Where each is, by name. */
  readonly sockets: Map<string, ChannelIds>
  /** Those that have a port. */
  readonly ports: Set<string>
  readonly #tell: (event: EmulatorEvent) => void

  constructor({ channels = {} }: EmulatorPlan['ids'], guest: { tell: (event: EmulatorEvent) => void }) {
    this.sockets = new Map(Object.entries(channels))
    this.ports = new Set(this.sockets.keys())
    this.#tell = guest.tell
  }

  unplug(name: string): void {
    if (!this.ports.delete(name)) return
    this.#tell({ kind: 'channel', answer: { device: channelPortId(name), isGone: true } })
  }
}
