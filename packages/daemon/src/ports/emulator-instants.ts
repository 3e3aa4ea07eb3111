/**
 * The disks of a running emulator as they were at one instant, kept to be read while the guest writes on; and bitmaps, in which it notes
 * what is written to a disk from one moment on.
 *
 * They are copied to scratch volumes, what the guest is about to overwrite first. So how fast somebody reads does not hold up the guest.
 * While it is copied, a scratch that cannot be written fails writes of the guest (QEMU 7.2), so it must not become full.
 */
import type { ChangedPiece } from '@kvasir/contract'
import type { DiskBitmap } from '../model/storage/checkpoint-state.ts'
import type { VolumeSource } from '../model/storage/volume-source.ts'
import type { LayerOptions } from './emulator-blocks.ts'

/** Which disk, and which scratch. */
export interface InstantName {
  readonly disk: string
  /** The id of the scratch volume, after which everything of it is named. */
  readonly id: string
}

/** A disk that is to be kept, with a scratch volume as large as it that nobody has open. */
export interface KeptDisk extends InstantName {
  readonly source: VolumeSource
  readonly options: LayerOptions
  /** The bitmap by which it is to be told what changed; it stays as it is. */
  readonly since: string | undefined
}

export interface EmulatorInstants {
  /** Opens the scratches of disks that are to be kept. On failure they are to be ended. */
  open(disks: readonly KeptDisk[]): Promise<void>
  /**
   * Keeps disks whose scratches are open as they are at one instant, in which bitmaps of a name begin on all of them where that is said.
   * The guest has to stand meanwhile. On failure they are to be ended.
   */
  take(disks: readonly KeptDisk[], options: { readonly begins: string | undefined }): Promise<void>
  /** How far a disk is copied, from 0 to 1; at 1 it can be read. `emulator-failed` or `not-enough-space` when the copying ended. */
  copied(name: InstantName): Promise<number>
  /** What a copied disk was: all of it, or what had changed since its bitmap began. Once at a time. What is left early ends. */
  read(
    name: InstantName,
    options: { readonly sizeBytes: number; readonly isIncrement: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<ChangedPiece>
  /** Keeps a disk no longer, and closes the scratch. No error for what is not there. */
  end(name: InstantName): Promise<void>
  /** The bitmaps of disks whose names begin so. */
  bitmaps(disks: readonly string[], prefix: string): Promise<readonly DiskBitmap[]>
  /** Begins a bitmap on each disk, at one instant, or on none. In qcow2 it outlasts the emulator; elsewhere it is put away (emulator-notes.ts). */
  beginBitmaps(name: string, disks: readonly string[]): Promise<void>
  /** Removes a bitmap; no error where there is none. */
  removeBitmaps(name: string, disks: readonly string[]): Promise<void>
}
