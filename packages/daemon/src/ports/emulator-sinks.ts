/**
 * Layers of a running emulator that sink into the one volume under them, which is raw and stays.
 *
 *     absent ──begin──▶ sinking ──▶ (the same) ──▶ held ──finish──▶ over       of a layer that is the disk's top
 *     absent ──begin──▶ sinking ──────────────────────────────────▶ over       of one that others lie on
 *
 * `held`: the volume holds what the disk does, and was flushed; the disk's requests wait. Whoever writes down in that moment that the disk
 * is on the volume, and has it finished, is right whatever dies when. Until then the layer hides all that was written to the volume.
 */
import type { VolumeSource } from '../model/storage/volume-source.ts'
import type { LayerOptions } from './emulator-blocks.ts'
import type { FollowOptions } from './emulator-mirrors.ts'

/** A layer of a disk and the volume under it. */
export interface Sink {
  readonly disk: string
  /** The id of the layer's volume, after which everything of it is named. */
  readonly id: string
  /** What the layer is called in answers of `chains`. */
  readonly layer: string
  readonly into: { readonly id: string; readonly source: VolumeSource; readonly options: LayerOptions }
}

export type SinkState = 'absent' | 'sinking' | 'held' | 'over'

export interface EmulatorSinks {
  /** What an emulator says, whoever began it. */
  state(sink: Sink): Promise<SinkState>
  /** Begins to copy; returns at once. */
  begin(sink: Sink): Promise<void>
  /**
   * Waits until volume and layer are the same: of a disk's top, which the guest goes on writing to; else the layer is out of the chain
   * then, and the volume flushed. An aborted signal ends the waiting alone.
   */
  follow(sink: Sink, options: FollowOptions): Promise<void>
  /** Has the disk's requests wait as soon as both are the same and flushed. */
  hold(sink: Sink, options: FollowOptions): Promise<void>
  /** Has a held disk go over to the volume, and closes the layer. `emulator-failed` when the disk is still on it. */
  finish(sink: Sink): Promise<void>
  /** Ends the copying, which leaves the disk on the layer. No error when there is none. */
  abandon(sink: Sink): Promise<void>
}
