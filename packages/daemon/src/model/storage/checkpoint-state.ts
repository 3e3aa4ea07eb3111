/** What a checkpoint knows of a disk: decided by what the emulator says of the disk's bitmaps. */

/** A bitmap of a disk. */
export interface DiskBitmap {
  readonly disk: string
  readonly name: string
  /** It has noted all that was written since it was begun. */
  readonly isWhole: boolean
  /** What was written since, in whole grains. */
  readonly changedBytes: number
}

/** What the names of all bitmaps of checkpoints begin with. */
export const bitmapPrefix = 'checkpoint-'

/**
 * The bitmap on the scratch of an increment, of what had changed: an NBD client asks for it as `qemu:dirty-bitmap:changed` (QEMU,
 * docs/interop/nbd.txt).
 */
export const changedBitmap = 'changed'

/** The bitmap of a checkpoint, the same on each of its disks. */
export function bitmapName(checkpointId: string): string {
  return `${bitmapPrefix}${checkpointId}`
}

/** What changed is known, or why it is not. */
export type CheckpointState =
  | { readonly kind: 'usable'; readonly changedBytes: number }
  | { readonly kind: 'lost'; readonly reason: string }

/** Judges a checkpoint of a disk of a running VM. */
export function judgeCheckpoint(
  { id, name, disks }: { readonly id: string; readonly name: string; readonly disks: readonly string[] },
  disk: string,
  bitmaps: readonly DiskBitmap[],
): CheckpointState {
  if (!disks.includes(disk)) return { kind: 'lost', reason: `disk ${disk} is not in checkpoint ${name}` }
  const bitmap = bitmaps.find((one) => one.disk === disk && one.name === bitmapName(id))
  if (bitmap?.isWhole) return { kind: 'usable', changedBytes: bitmap.changedBytes }
  return {
    kind: 'lost',
    reason: bitmap
      ? `the emulator ended without writing down what had changed on disk ${disk} since checkpoint ${name}`
      : `disk ${disk} has lost what it noted since checkpoint ${name}: its emulator was killed, or its volume was changed while the VM was off, or it is on another volume since`,
  }
}
