/**
 * Copies of the disks of a running emulator that follow what the guest writes, and that it goes over to.
 *
 *     absent ──begin──▶ copying ──▶ (the same) ──▶ held ──finish──▶ over
 *        ▲                 └──────────┴────abandon──┘
 *
 * `held`: copy and disk are the same, the copy is flushed, and the disk's requests wait. Whoever writes down in that moment which of the
 * two is the disk, and has it finished or abandoned accordingly, is right whatever dies when.
 */
import type { VolumeSource } from '../model/storage/volume-source.ts'
import type { LayerOptions } from './emulator-blocks.ts'

/** Which copy of which disk. */
export interface MirrorName {
  readonly disk: string
  /** The id of the volume that is the copy, after which everything of it is named. */
  readonly id: string
}

/** A copy that is to be made, in a volume that nobody has open. */
export interface Mirror extends MirrorName {
  readonly source: VolumeSource
  readonly options: LayerOptions
  /** What the volume lies on, the nearest first: copies of what the disk lies on, so that only what is on top of those is copied. */
  readonly below?: readonly VolumeSource[] | undefined
  /** The volume holds already what the disk lies on, so that only what is on top of that is copied. */
  readonly holdsBelow?: boolean | undefined
  /** What the disk has, where the volume is larger: its rest is left alone until the disk goes over. */
  readonly sizeBytes?: number | undefined
  /** What it may copy in a second; 0 for as much as it can. */
  readonly bytesPerSecond: number
}

export type MirrorState = 'absent' | 'copying' | 'held' | 'over'

/** How far a copy is. What the guest writes meanwhile is to be copied too. */
export interface MirrorProgress {
  readonly copiedBytes: number
  readonly totalBytes: number
  /** It was the same as the disk once, and follows since. */
  readonly isSame: boolean
}

export interface FollowOptions {
  readonly onProgress: (progress: MirrorProgress) => Promise<void>
  readonly signal: AbortSignal
}

export interface EmulatorMirrors {
  /** What an emulator says of a copy, whoever began it. */
  state(mirror: MirrorName): Promise<MirrorState>
  /** Begins to copy; returns at once. */
  begin(mirror: Mirror): Promise<void>
  /** Changes what may be copied in a second. */
  setSpeed(mirror: MirrorName, bytesPerSecond: number): Promise<void>
  /**
   * Waits until a copy is the same as its disk; it goes on following the guest then. `not-enough-space`, or `emulator-failed` when the
   * copying ended. An aborted signal ends the waiting alone.
   */
  follow(mirror: MirrorName, options: FollowOptions): Promise<void>
  /** Has the disk's requests wait as soon as the copy is the same and flushed. */
  hold(mirror: MirrorName, options: FollowOptions): Promise<void>
  /** Has a held disk go over to its copy, of which the guest gets all then, and closes what it was on before. `emulator-failed` when it is still on that. */
  finish(mirror: MirrorName, options: LayerOptions): Promise<void>
  /** Ends the copying and closes the copy. No error for what is not there. */
  abandon(mirror: MirrorName): Promise<void>
}
