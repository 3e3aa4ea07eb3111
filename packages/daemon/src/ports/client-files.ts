/**
 * Files that a client on this host has open itself, and names by the number of their descriptor: what is in them goes to a volume or comes
 * from one without passing through the client or the daemon.
 *
 * Not here: what a volume is (volume-access.ts), clients elsewhere, who send their bytes (contract: contents.ts).
 */
import type { Extent } from './volume-access.ts'

/** A regular file as its client claims it, by what fstat(2) says there. */
export interface ClaimedFile {
  /** Its number in the client. */
  readonly descriptor: number
  /** In decimal digits. */
  readonly device: string
  readonly inode: string
  readonly access: 'read' | 'write'
}

/** A part of a file or volume. */
export interface Part {
  readonly offset: number
  readonly lengthBytes: number
}

/** A volume that a process of ours has open and locked: the socket on which it serves it, or the raw file that it is. */
export interface VolumeEnd {
  readonly kind: 'nbd' | 'file'
  readonly path: string
}

/** Such a file, held open by us too. Each call throws what the file or the volume refused, and `deadline-exceeded` for one that hangs. */
export interface ClientFile {
  readonly sizeBytes: number
  /** What is at a place, up to `end` at most. */
  next(offset: number, end: number): Promise<Extent>
  resize(sizeBytes: number): Promise<void>
  /** Moves a part to the same place of a volume. */
  put(volume: VolumeEnd, part: Part): Promise<void>
  /** Moves parts from the same places of a volume, at most some hundred at once. */
  get(volume: VolumeEnd, parts: readonly Part[]): Promise<void>
  close(): void
}

export interface ClientFiles {
  /**
   * Takes a file out of the process that made a connection. `unsupported` where that is not to be had: the caller then sends bytes. The
   * connection is the descriptor of our end of it; undefined for one from elsewhere.
   */
  take(connection: number | undefined, file: ClaimedFile): Promise<ClientFile>
}
