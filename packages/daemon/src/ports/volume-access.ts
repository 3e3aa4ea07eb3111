/**
 * What is done to the bytes of a volume from outside of an emulator: looked through for damage, read, written. The same for every
 * pool, since QEMU's own tools do it, in the jail (host/jail), told by a `VolumeSource` where the volume is.
 *
 * Nobody may write to the volume meanwhile, which is the caller's to see to; QEMU's lock on the file is the second opinion. What does
 * not answer in time is `pool-unreachable`. Not here: who may have a volume (services/volumes), what a pool is made of (pools.ts).
 */
import type { VolumeCheck } from '@kvasir/contract'
import type { VolumeSource } from '../model/storage/volume-source.ts'

export interface CheckWork {
  /** Whether what is found is repaired; without it the volume is only read. */
  readonly repair: boolean
  /** Most bytes that its file may have when it was repaired. */
  readonly fileSizeBytes: number
  readonly signal: AbortSignal
}

export interface VolumeAccess {
  /**
   * Looks through a volume of a format with tables of its own, or repairs it; what it lies on is not opened. `file-not-found`,
   * `image-refused` for what cannot be looked through at all, `in-use` for one that another program has open.
   */
  check(source: VolumeSource, work: CheckWork): Promise<VolumeCheck>
}
