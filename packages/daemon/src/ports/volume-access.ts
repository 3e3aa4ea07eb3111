/**
 * What is done to the bytes of a volume from outside of an emulator: looked through for damage, read, written. The same for every
 * pool, since QEMU's own tools do it, in the jail (host/jail), told by a `VolumeSource` where the volume is.
 *
 * Nobody may write to the volume meanwhile, which is the caller's to see to; QEMU's lock on the file is the second opinion. What does
 * not answer in time is `pool-unreachable`. Not here: who may have a volume (services/volumes), what a pool is made of (pools.ts).
 */
import type { Duplex } from 'node:stream'
import type { VolumeCheck } from '@kvasir/contract'
import type { Qcow2Table } from '../model/storage/qcow2-header.ts'
import type { VolumeSource } from '../model/storage/volume-source.ts'
import type { ClientFile, Part } from './client-files.ts'

export interface CheckWork {
  /** Whether what is found is repaired; without it the volume is only read. */
  readonly repair: boolean
  /** Most bytes that its file may have when it was repaired. */
  readonly fileSizeBytes: number
  readonly signal: AbortSignal
}

/** A part of a volume, from where the last one ended. */
export interface Extent {
  readonly lengthBytes: number
  /** It reads as zeros. */
  readonly isZero: boolean
}

/** A volume that is open: what a guest would read and write, at any place. Positions and lengths are in bytes. */
export interface OpenVolume {
  readonly sizeBytes: number
  /** What there is from a place on: at least one part, none beyond the length. */
  extents(offset: number, lengthBytes: number): Promise<readonly Extent[]>
  read(offset: number, lengthBytes: number): Promise<Uint8Array>
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Makes a part read as zeros, and gives its space back where that goes. */
  zero(offset: number, lengthBytes: number): Promise<void>
  /** Moves a part of a file to the same place here. */
  take(file: ClientFile, part: Part): Promise<void>
  /** Moves parts to the same places of a file, at most some hundred at once. */
  give(file: ClientFile, parts: readonly Part[]): Promise<void>
  /** What was written is on the disk. */
  flush(): Promise<void>
  /** Lets go of it; what was not flushed may be lost. Returns when no process has it open. */
  close(): Promise<void>
}

export interface OpenWork {
  /** `look` reads what another program may have open and write, and keeps nobody from opening it. */
  readonly access: 'read' | 'write' | 'look'
  /** Most bytes that its file may have while it is open to be written. */
  readonly fileSizeBytes: number
  readonly signal: AbortSignal
}

/** A volume to be served: as an export of this name. */
export interface ServedVolume {
  readonly name: string
  /** Top first. */
  readonly chain: readonly VolumeSource[]
  /** A bitmap in the top one of which clients may ask. */
  readonly bitmap?: string
}

/** Volumes that are served by NBD, to be read. */
export interface VolumeServer {
  /** A new connection to it, on which it greets first. `host-failed` once it has ended. */
  connect(): Promise<Duplex>
  /** Resolves when it serves no more. */
  readonly ended: Promise<void>
  /** Ends it, and every connection. Returns when no process has the volumes open. */
  close(): Promise<void>
}

export interface FillWork {
  /** Most bytes that its file may have afterwards. */
  readonly fileSizeBytes: number
  /** It was just made and reads as zeros. */
  readonly isNew?: boolean
  /** What is copied in a second at most; 0 for no limit. */
  readonly bytesPerSecond: number
  readonly onProgress: (fraction: number) => void
  readonly signal: AbortSignal
}

export interface VolumeAccess {
  /**
   * Looks through a volume of a format with tables of its own, or repairs it; what it lies on is not opened. `file-not-found`,
   * `image-refused` for what cannot be looked through at all, `in-use` for one that another program has open.
   */
  check(source: VolumeSource, work: CheckWork): Promise<VolumeCheck>
  /**
   * Which of the first tables of a qcow2 volume lies behind its end, where nothing but zeros can be read. A check takes these for what was
   * never written, and a repair writes that down. Errors as of `open`.
   */
  tableBehindEnd(
    source: VolumeSource,
    work: { readonly signal: AbortSignal },
  ): Promise<Qcow2Table | undefined>
  /**
   * Opens a chain, top first; only the top can be written. Its headers are not asked what it lies on. `in-use` for one that another
   * program has open, named; `too-many-requests` when many are open already.
   */
  open(chain: readonly VolumeSource[], work: OpenWork): Promise<OpenVolume>
  /**
   * Copies what a chain shows over what a volume holds that is at least as large; what lies beyond stays. A new volume that lies
   * on others gets only what is on the top of the chain, since they show what the rest of that does. Broken off, the volume holds some of
   * either. `in-use`, `not-enough-space`, `pool-unreachable`.
   */
  fill(into: readonly VolumeSource[], chain: readonly VolumeSource[], work: FillWork): Promise<void>
  /** Serves volumes to be read by NBD until that is ended, or the daemon ends. Errors as of `open`. */
  serve(volumes: readonly ServedVolume[], work: { readonly signal: AbortSignal }): Promise<VolumeServer>
}
