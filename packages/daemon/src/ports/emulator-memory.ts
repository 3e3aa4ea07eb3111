/** The memory of a running emulator: what it is told, and what it and the host's kernel say of it. */

import type { ThpMode } from '../model/memory/host-memory.ts'

/** What a VM's cgroup allows, in bytes; undefined is no limit. */
export interface MemoryLimits {
  readonly high?: number | undefined
  readonly hard?: number | undefined
  readonly swap?: number | undefined
}

/** The virtio-mem device, in bytes: what it was asked to give to the guest, and what the guest took. */
export interface PluggedMemory {
  readonly requestedBytes: number
  readonly pluggedBytes: number
  readonly regionBytes: number
}

/** What a guest's balloon driver or agent reports; times are ISO 8601. */
export interface GuestReport {
  readonly source: 'balloon' | 'agent'
  readonly at?: string | undefined
  readonly totalBytes?: number | undefined
  readonly availableBytes?: number | undefined
  readonly freeBytes?: number | undefined
  readonly cachesBytes?: number | undefined
  readonly swappedInBytes?: number | undefined
  readonly swappedOutBytes?: number | undefined
  readonly majorFaults?: number | undefined
}

/** What the host's kernel holds for an emulator and allows it. */
export interface HeldMemory {
  readonly at: string
  readonly residentBytes: number
  readonly swappedBytes: number
  readonly zswappedBytes: number | undefined
  readonly ksmBytes: number | undefined
  readonly huge: readonly {
    readonly kind: 'transparent' | 'reserved'
    readonly pageBytes: number
    readonly bytes: number
  }[]
  readonly nodes: readonly { readonly node: number; readonly bytes: number }[] | undefined
  /** Of the whole emulator: what is never swapped out. */
  readonly lockedBytes: number | undefined
  /** How the host has transparent huge pages. */
  readonly thpMode: ThpMode | undefined
  /** What the cgroup allows by its files; undefined where the host has no such files. */
  readonly limits: MemoryLimits | undefined
  /** What could not be told, in sentences. */
  readonly notes: readonly string[]
}

export interface EmulatorMemory {
  /** What the balloon leaves to the guest of the memory of the boot; undefined without a balloon. */
  balloonBytes(): Promise<number | undefined>
  /** Tells the balloon what to leave to the guest of the memory of the boot. The guest follows when it can. */
  setBalloon(bytes: number): Promise<void>
  /** Undefined where nothing can be plugged. */
  plugged(): Promise<PluggedMemory | undefined>
  /** Asks the guest to have this much plugged, a whole number of blocks. It follows as far as it can. */
  request(bytes: number): Promise<void>
  /** Lets KSM merge the memory with equal pages of others, or no longer. Taking apart what was merged takes a while. */
  setMerging(merges: boolean): Promise<void>
  /**
   * Sets what the cgroup allows, but for files that are to be left alone. Returns those that this host does not have or whose kernel
   * refused them.
   */
  limit(limits: MemoryLimits, options?: { readonly leave?: readonly string[] }): Promise<readonly string[]>
  /** What the host holds for it. May take long for a large VM, so it is kept for a while: for who looks at one VM, not at a list. */
  held(): Promise<HeldMemory>
}
