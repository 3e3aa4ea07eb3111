/**
 * The disks of a running emulator: what each has open from top to bottom, new layers on top, layers that are merged.
 *
 * Its answer outranks the store: after a daemon died, or a job ended, the chain is what the emulator says that it is.
 */
import type { EmulatorInstants } from './emulator-instants.ts'
import type { EmulatorMirrors } from './emulator-mirrors.ts'
import type { EmulatorNotes } from './emulator-notes.ts'
import type { EmulatorSinks } from './emulator-sinks.ts'

/** How the emulator is to open a layer; as the disk's other layers are. */
export interface LayerOptions {
  /** Past the host's page cache. */
  readonly direct: boolean
  readonly noFlush: boolean
  readonly discard: 'unmap' | 'ignore'
  readonly detectZeroes?: 'off' | 'on' | 'unmap' | undefined
  /** What carries requests to the host, where that is not QEMU's own choice. */
  readonly aio?: 'native' | 'io_uring' | undefined
  /** It lies on what may hang. */
  readonly guarded: boolean
  /** What is on it is encrypted (LUKS), with this secret. */
  readonly encryption?: { readonly secretId: string } | undefined
}

/** One file of a chain that is open. */
export interface OpenLayer {
  /** The emulator's name for it. */
  readonly node: string
  /** The path that was asked about, where it is that file; else what the kernel calls it. */
  readonly path: string
}

/** A disk's chain as the emulator has it, its top first. */
export interface OpenChain {
  readonly disk: string
  readonly layers: readonly OpenLayer[]
}

/** An overlay of what a disk has on top, made and not open yet. */
export interface NewOverlay {
  readonly disk: string
  /** What is on top of the disk's chain. */
  readonly over: OpenLayer
  readonly path: string
  /** The id of its volume, after which it is named. */
  readonly id: string
  readonly options: LayerOptions
}

/** Overlays that are open and that no disk has yet. */
export interface OpenOverlays extends AsyncDisposable {
  /** Puts one on each disk at one instant, or on none. Answers how long the disks waited at most. */
  layOver(): Promise<{ readonly waitedMs: number }>
}

/** A layer that takes in what lies under it, so that those below it down to a base go out of the chain. */
export interface Absorption {
  readonly disk: string
  /** The path of the layer that stays. */
  readonly path: string
  /** The id of its volume. */
  readonly id: string
  /** What it lies on afterwards; undefined for nothing. */
  readonly base: { readonly path: string; readonly header: string } | undefined
  /** All files of the chain of now. */
  readonly files: readonly string[]
  readonly options: LayerOptions
}

export interface AbsorbOptions {
  readonly onProgress: (fraction: number) => void
  /** Ends it: what was copied stays, and the chain is as it was. */
  readonly signal: AbortSignal
}

/** What is asked about: disks by name, and the paths of the files that may be theirs. */
export interface AskedChains {
  readonly disks: readonly string[]
  readonly files: readonly string[]
}

export interface EmulatorBlocks {
  /** Copies that follow disks. */
  readonly mirrors: EmulatorMirrors
  /** Layers that go into what is not a file. */
  readonly sinks: EmulatorSinks
  /** Disks as they were at one instant, and what is written after one. */
  readonly instants: EmulatorInstants
  /** What is noted of disks without room for it, between two emulators. */
  readonly notes: EmulatorNotes
  /** The chains of disks; one that the emulator does not have is left out. */
  chains(asked: AskedChains): Promise<readonly OpenChain[]>
  /** Opens overlays, to be put on their disks. What was not put on one is closed again with the answer. */
  openOverlays(overlays: readonly NewOverlay[]): Promise<OpenOverlays>
  /** Merges layers while the guest runs, or follows such a merge that a former daemon began. */
  absorb(absorption: Absorption, options: AbsorbOptions): Promise<void>
  /** Tells a disk's file and its device of another capacity, which the guest sees. */
  resize(disk: string, capacityBytes: number): Promise<void>
  /** Closes those of these files that are open and in no disk's chain. */
  close(files: readonly string[]): Promise<void>
}
