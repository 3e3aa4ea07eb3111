/** The disks of a simulated QEMU process, and a guest that lets go of them or does not, as a test wants. */
import { type DiskThrottle, KvasirError } from '@kvasir/contract'
import type { EmulatorPlan } from '../model/qemu/emulator-plan.ts'
import type { EmulatorEvent } from '../ports/emulators.ts'

interface Guest {
  readonly later: (work: () => void) => void
  readonly tell: (event: EmulatorEvent) => void
}

export interface GuestMirror {
  readonly disk: string
  /** Its chain, top first. */
  readonly paths: readonly string[]
  state: 'copying' | 'held'
}

export class GuestDisks {
  /** By name. */
  readonly plugged: Map<string, EmulatorPlan['ids']['disks'][string]>
  readonly ioThreads: Set<string>
  readonly limits = new Map<string, DiskThrottle>()
  /** Copies that follow a disk, by the id of their volume. */
  readonly mirrors = new Map<string, GuestMirror>()
  /** Layers that sink, by the ids of their volumes. */
  readonly sinks = new Map<string, 'sinking' | 'held'>()
  /** Disks that are kept as they were, by the id of their scratch. */
  readonly kept = new Map<string, { readonly disk: string }>()
  /** How many times more letting go of one is refused. */
  refusalsToLetGo = 0
  /** The bitmaps of each disk, by their names: whether they have noted everything. */
  readonly bitmaps = new Map<string, Map<string, { readonly isWhole: boolean }>>()
  readonly #guest: Guest

  /** Whether the guest lets go: at once when asked, never, or with a refusal. */
  release: 'willing' | 'silent' | 'refusing' = 'willing'
  /** Whether the guest was frozen when files of overlays were last opened; undefined when none were. */
  openedFrozen: boolean | undefined
  /** What drives hold that were given another medium since the start, by their paths. */
  readonly media = new Map<string, readonly string[]>()
  readonly openTrays = new Set<string>()
  /** Drives whose tray the guest has locked. */
  readonly locked = new Set<string>()
  /** Nothing can be plugged. */
  refusesAll = false
  /** What is copied to has no room, or the guest writes as fast as it is copied, or its pool hangs. */
  copies: 'well' | 'to a full disk' | 'never to the end' | 'stands still' = 'well'

  constructor(ids: EmulatorPlan['ids'], guest: Guest) {
    this.plugged = new Map(Object.entries(ids.disks))
    this.ioThreads = new Set(ids.ioThreads)
    this.#guest = guest
  }

  /** A tray opens, unless the guest has locked it. */
  openTray(disk: string, force: boolean): void {
    if (this.locked.has(disk) && !this.openTrays.has(disk) && !force)
      throw new KvasirError('guest-refused', `The guest has locked the tray of drive ${disk}.`)
    this.openTrays.add(disk)
  }

  /** The guest is asked to let go of a disk. */
  askFor(disk: string): void {
    if (this.release !== 'silent') this.#guest.later(() => this.answer(disk))
  }

  /** The guest lets go of a disk, or refuses to: asked, or by itself. */
  answer(disk: string): void {
    const device = this.plugged.get(disk)?.device
    if (device === undefined) return
    const isGone = this.release !== 'refusing'
    if (isGone) this.plugged.delete(disk)
    this.#guest.tell({ kind: 'disk', answer: { device, isGone } })
  }
}
