/**
 * What an emulator has noted in bitmaps of disks whose format has no room for them, put away in files of the daemon's own while there is no
 * emulator. Nobody may write to the disk between one and the other, which is the caller's to see to.
 */
export interface DiskNotes {
  /** The name of the disk. */
  readonly disk: string
  /** The file; made by the daemon, and empty before something is put into it. */
  readonly path: string
}

export interface EmulatorNotes {
  /**
   * Puts the bitmaps of checkpoints of a disk into a file, while its guest stands; answers how many. None where the disk is in the middle
   * of going elsewhere, or is on a format with room for them.
   */
  putAway(notes: DiskNotes): Promise<number>
  /** Takes bitmaps of these names out of a file, which stays as it is; answers how many. Before the guest runs. */
  takeBack(notes: DiskNotes & { readonly names: readonly string[] }): Promise<number>
  /** Lets go of the files, once the guest runs: QEMU 7.2 keeps descriptors until then (monitor/fds.c). */
  letGo(): Promise<void>
}
