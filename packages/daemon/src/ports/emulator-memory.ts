/** The memory of a running emulator: what it is told, and what it and the host's kernel say of it. */

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

export interface EmulatorMemory {
  /** What the balloon leaves to the guest of the memory of the boot; undefined without a balloon. */
  balloonBytes(): Promise<number | undefined>
  /** Tells the balloon what to leave to the guest of the memory of the boot. The guest follows when it can. */
  setBalloon(bytes: number): Promise<void>
  /** Undefined where nothing can be plugged. */
  plugged(): Promise<PluggedMemory | undefined>
  /** Asks the guest to have this much plugged, a whole number of blocks. It follows as far as it can. */
  request(bytes: number): Promise<void>
  /** Sets what the cgroup allows. Returns the files that this host does not have or whose kernel refused them. */
  limit(limits: MemoryLimits): Promise<readonly string[]>
}
