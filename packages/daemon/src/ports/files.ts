/**
 * Files of volumes, saved memory and seeds: what the default pool (a directory) needs. Foreign content is never parsed here;
 * qemu-img runs only as a child process with limits.
 */
export interface ChainLink {
  readonly path: string
  readonly format: 'qcow2' | 'raw'
}

export interface CopyOptions {
  readonly onProgress: (fraction: number) => void
  readonly signal: AbortSignal
  /**
   * The chain below the source as the store has it. An emulator that was taken over could have written another base into its
   * volume's header; with the chain given, such a volume is refused.
   */
  readonly backing?: readonly ChainLink[]
}

/** A volume's chain, and where it is cut. */
export interface AbsorbedChain {
  /** What the volume lies on now, the nearest first. */
  readonly backing: readonly ChainLink[]
  /** How many of these it takes in. */
  readonly absorbed: number
}

export interface PoolFiles {
  /** The path of a volume's file; made of the volume's id, never of its name. */
  volumePath(id: string): string
  savePath(vmId: string): string
  seedPath(vmId: string): string
  /** Makes an empty qcow2 volume. Fails when the file exists. */
  createEmpty(id: string, capacityBytes: number): Promise<void>
  /** Makes a qcow2 overlay; the capacity is the base's unless a larger one is given. */
  createOverlay(id: string, base: ChainLink, capacityBytes: number | undefined): Promise<void>
  /** Makes a full and flat copy of a chain. Progress runs from 0 to 1. */
  createCopy(id: string, source: ChainLink, options: CopyOptions): Promise<void>
  /**
   * Copies what the layers between a volume and its base to be hold into the volume, which lies on that base from then on. Nobody may
   * have the volume open. Repeated after a death at any moment, it comes to the same.
   */
  absorb(id: string, chain: AbsorbedChain, options: Omit<CopyOptions, 'backing'>): Promise<void>
  /** Removes a volume's file; no error when there is none. */
  removeVolume(id: string): Promise<void>
  /** The bytes that a volume occupies; undefined when its file is missing. */
  allocatedBytes(id: string): Promise<number | undefined>
  /** Ids of all volume files, those of no row too. */
  listVolumes(): Promise<readonly string[]>
  /** Writes a NoCloud seed with mode 0600, replacing an older one. */
  writeSeed(vmId: string, content: Uint8Array): Promise<void>
  removeSeed(vmId: string): Promise<void>
  /** Publishes the partial save file of a VM: fsync, then rename. */
  commitSave(vmId: string): Promise<{ readonly sizeBytes: number }>
  partialSavePath(vmId: string): string
  /** Removes saved memory, whole or partial. */
  removeSave(vmId: string): Promise<void>
  listSaves(): Promise<readonly { readonly vmId: string; readonly partial: boolean }[]>
  /** Makes the partial save file of a VM the memory of a snapshot: fsync, then rename. */
  keepMemory(vmId: string, snapshotId: string): Promise<{ readonly sizeBytes: number }>
  /** Makes the memory of a snapshot the saved memory of a VM; the snapshot keeps it. */
  lendMemory(snapshotId: string, vmId: string): Promise<void>
  /** Removes the memory of a snapshot; no error when it has none. */
  removeMemory(snapshotId: string): Promise<void>
  /** Ids of snapshots that have memory, those of no row too. */
  listMemories(): Promise<readonly string[]>
  listSeeds(): Promise<readonly string[]>
  freeBytes(): Promise<number>
  /** Whether the file systems under volumes and their bases take O_DIRECT; tmpfs before Linux 6.6 does not. */
  readonly directIo: boolean
}
