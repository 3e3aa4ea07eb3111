/**
 * Pools: what volumes lie in. `PoolBackend` is all that is asked of one; behind it each kind of storage is one file in host/pools
 * (CONTRIBUTING.md, "Add a backend of pools"), and every one passes pools.suite.ts.
 *
 * Each call has a deadline of its backend's own. One that passes it, or finds the pool gone, throws `pool-unreachable`, and so does
 * at once every later call but `inspect`, until an `inspect` succeeds: nobody waits twice for what hangs. No call blocks the daemon.
 *
 * Not here: which volumes there are (store), who may have them, what a chain is (services/volumes).
 */
import type { PoolCapabilities, PoolType } from '@kvasir/contract'
import type { VolumeSource } from '../model/storage/volume-source.ts'
import type { PoolRecord, VolumeRecord } from './store.ts'

/** By what a backend finds a volume. */
export type VolumeKey = Pick<VolumeRecord, 'id' | 'format' | 'file' | 'encryption'>

/** Room in a pool. What others have taken of the same disk is allocated too. */
export interface PoolSpace {
  readonly capacityBytes: number
  readonly allocatedBytes: number
  readonly availableBytes: number
  /** Its volumes are what others made of it, so that nothing is ever free. */
  readonly isFixed?: boolean
  /** What else its health is judged by. */
  readonly concerns?: readonly PoolConcern[]
}

/** Something about a pool that its owner should know. */
export interface PoolConcern {
  readonly health: 'warning' | 'bad'
  /** A sentence. */
  readonly remark: string
}

/** Something that lies in a pool. */
export interface PoolEntry {
  /** What it is called there. */
  readonly file: string
  /** The id of the volume that it is named for; undefined for what is not named by us. */
  readonly volumeId: string | undefined
  /** Whether it can be a volume at all: a regular file, a logical volume, not a folder or a link. */
  readonly isVolume: boolean
  readonly sizeBytes: number
  /** How many names a file has (hard links), also those elsewhere; absent for what has one and no other. */
  readonly names?: number
}

/** How an empty volume is made. */
export interface VolumePlan {
  readonly capacityBytes: number
  readonly preallocation?: 'none' | 'metadata' | 'full'
  readonly clusterBytes?: number | undefined
  readonly lazyRefcounts?: boolean
}

export interface CopyWork {
  /** The copy is compressed, which only a qcow2 one can be. */
  readonly compress?: boolean
  readonly onProgress: (fraction: number) => void
  readonly signal: AbortSignal
}

/** What a volume takes in. */
export interface AbsorbedSources {
  /** What the volume lies on now, the nearest first. */
  readonly backing: readonly VolumeSource[]
  /** How many of these it takes in. */
  readonly absorbed: number
}

/** What a layer goes down into. */
export interface Ground {
  readonly into: VolumeSource
}

/** A volume that is to be made of what others made. */
export type ForeignKey = VolumeKey & { readonly file: string }

/** What others made, as a volume of the pool. */
export interface Adoption {
  readonly capacityBytes: number
}

/** How something was that others made, before it was taken for a volume; the backend's own words. */
export type WordsBefore = readonly string[]

/** A volume, and one that is to be made of what it holds at a moment. */
export interface CopyAtMoment {
  readonly origin: VolumeKey
  readonly copy: VolumeKey
}

/** Volumes that were opened, so that what each holds can be kept at one moment. Disposed of when that is done, or is not to be. */
export interface Moment extends AsyncDisposable {
  /** Keeps what all of them hold now, for their copies. What was kept stays until they are made, or it is let go. */
  take(): Promise<void>
}

/**
 * Keeping what volumes hold at one moment and making the clones later, for pools where a clone takes longer than a guest may stand.
 * `createClone` makes one of what was kept for it, and of what the origin holds now where nothing was.
 */
export interface PoolMoments {
  open(copies: readonly CopyAtMoment[]): Promise<Moment>
  /** Whether something is kept for a copy that was not made yet, or not finished. */
  isKept(copy: CopyAtMoment): Promise<boolean>
  /** Lets go of what is kept for a copy that is not made after all; no error when nothing is. */
  letGo(copy: CopyAtMoment): Promise<void>
}

export interface PoolBackend {
  readonly type: PoolType
  /** The folder, where it is one. */
  readonly path: string | undefined
  /** What it is made of, in the words of its type: no two pools may have the same. */
  readonly place: string
  readonly capabilities: PoolCapabilities
  /** Whether nodes on it can be opened past the page cache; true until the first `inspect` knows better. */
  readonly directIo: boolean
  /** Files on a file system that this host alone has, so that its page cache may hold them; as the last `inspect` found it. */
  readonly isLocal?: boolean
  /** Volumes have the sizes that others give them: it is asked before a running emulator is told of another one. */
  readonly isSizedByOthers?: true
  /** What lies in it may hang, so a program gets it from a process that opened it and can be killed. */
  readonly isGuarded: boolean
  /**
   * Makes what the pool is made of where it is missing, and marks it as this pool. `pool-refused` for what cannot be a pool or is
   * another one, unless forced.
   */
  claim(options: { readonly force: boolean }): Promise<void>
  /** Takes the mark away, and the place too if it is empty and `claim` could make it again. No error for one that is gone. */
  release(): Promise<void>
  /** Looks whether the pool is there and is this one. The one call that tries again what hung before. */
  inspect(): Promise<PoolSpace>
  list(): Promise<readonly PoolEntry[]>
  /** Where QEMU finds a volume. Asks nobody. */
  source(volume: VolumeKey): VolumeSource
  /** Makes an empty volume; fails when there is one. Whole on the disk when it returns, and absent when it throws. */
  createEmpty(volume: VolumeKey, plan: VolumePlan): Promise<void>
  /** Makes an overlay with a capacity, which is at least its base's. `unsupported` where there is no qcow2. */
  createOverlay(volume: VolumeKey, base: VolumeSource, capacityBytes: number): Promise<void>
  /** Whether a volume that was just made empty reads as zeroes, whatever its space held before; not there where all do. */
  newIsZero?(): Promise<boolean>
  /**
   * Makes a volume of what another one of this pool holds now, which may be open; neither needs the other afterwards. Only with
   * `independentClones`.
   */
  createClone(volume: VolumeKey, origin: VolumeKey): Promise<void>
  /** Not there where a clone is made in a moment. */
  readonly moments?: PoolMoments
  /**
   * Copies what a clone still reads of its origin into it, which may be open; false when there is nothing of that kind. Not there where a
   * clone has all of its own. Broken off, it is begun again.
   */
  flatten?(volume: VolumeKey, work: CopyWork): Promise<boolean>
  /** Makes a full and flat copy of a chain, top first, in the volume's format. Progress runs from 0 to 1. */
  createCopy(volume: VolumeKey, chain: readonly VolumeSource[], work: CopyWork): Promise<void>
  /**
   * Copies what the layers between a volume and its base to be hold into the volume, which lies on that base from then on. Nobody may
   * have the volume open. Repeated after a death at any moment, it comes to the same.
   */
  absorb(volume: VolumeKey, chain: AbsorbedSources, work: CopyWork): Promise<void>
  /**
   * Copies what a layer holds into the raw volume under it, which is at least as large; nobody may have either open. Repeated after a
   * death at any moment, it comes to the same. Only where there are layers.
   */
  sink?(volume: VolumeKey, ground: Ground, work: CopyWork): Promise<void>
  /** Writes into the header of a layer that nobody has open what it lies on. Only where there are layers. */
  nameBase?(volume: VolumeKey, base: VolumeSource): Promise<void>
  /**
   * Gives a volume that nobody has open another capacity; one that becomes smaller loses what lies beyond. Growing an overlay shows
   * zeroes beyond its base.
   */
  resize(volume: VolumeKey, capacityBytes: number): Promise<void>
  /** The capacity that a volume has by itself, whatever the store says. `file-not-found`, `image-refused`. */
  capacityBytes(volume: VolumeKey): Promise<number>
  /**
   * `in-use`, naming who holds it, for a volume that somebody has locked by hand, so that whoever writes to it would wait for ever. Only
   * where the storage itself keeps such locks.
   */
  requireUnlocked?(volume: VolumeKey): Promise<void>
  /** The first bytes of something that lies in the pool, of which nothing is changed. Not there where no look is that cheap. */
  peek?(file: string, lengthBytes: number): Promise<Uint8Array>
  /** The same of many, where each look by itself would be made over connections of its own; what cannot be read is left out. */
  peekMany?(files: readonly string[], lengthBytes: number): Promise<ReadonlyMap<string, Uint8Array>>
  /**
   * Takes what lies in the pool and is no volume yet for one, in its place. `image-refused` for what is not of the format, or names
   * another file, and is as it was then. `note` is told how it was, before anything of it is changed.
   */
  adopt(volume: ForeignKey, note?: (before: WordsBefore) => void): Promise<Adoption>
  /** Leaves what was taken as it was found, for it becomes no volume after all. Can be repeated; not there where nothing is changed. */
  giveBack?(file: string, before: WordsBefore): Promise<void>
  /** Removes a volume; no error when there is none. */
  remove(volume: VolumeKey): Promise<void>
  /** The bytes that a volume occupies; undefined when it is missing. */
  allocatedBytes(volume: VolumeKey): Promise<number | undefined>
  /** The pool was stopped, and nobody uses its volumes: gives back what the host holds for them. */
  rest?(): Promise<void>
  /** Waits until what was written so far is on the disk; not there where nothing is held in the page cache of this host. */
  flush?(volume: VolumeKey): Promise<void>
  /** Something that changes whenever a volume is written; not there where the pool cannot tell. */
  stamp?(volume: VolumeKey): Promise<string>
  /** Ends what it holds on the host for its convenience. */
  close(): void
}

export interface Pools {
  /** The backend of a pool: the same one each time. */
  of(pool: Pick<PoolRecord, 'id' | 'source'>): PoolBackend
  /** Forgets the backend of a pool that is gone. */
  forget(poolId: string): void
  /** Ends what all backends hold on the host for their convenience. */
  close(): void
  /** Tells when a call found a pool unreachable that was reachable before. */
  onUnreachable(listener: (poolId: string, reason: string) => void): void
}
