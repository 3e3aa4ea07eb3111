/**
 * Where the threads of one emulator may run, and which host nodes its memory comes from: what a planner decides and a starter applies.
 *
 * Invariant: what is absent is not restricted, beyond what the VM as a whole is allowed. Numbers are the host's CPU and node numbers.
 */

/** A layout of one VM on its host. */
export type ThreadLayout = {
  /** Host CPUs that any thread of the VM may use; absent: all that the daemon may use. */
  readonly allowedCpus?: readonly number[]
  /** By vCPU index: the host CPUs it may run on. */
  readonly vcpus: ReadonlyMap<number, readonly number[]>
  /** For the emulator thread and its workers. */
  readonly emulator?: readonly number[]
  /** For the threads of the kernel that move packets of its NICs; absent: where the emulator's are. */
  readonly vhost?: readonly number[]
  /** By the name of the disk whose I/O thread it is. */
  readonly ioThreads: ReadonlyMap<string, readonly number[]>
  /** Host NUMA nodes that guest memory is taken from, in the order of the guest's nodes. */
  readonly memoryNodes?: readonly number[]
}

/** The layout that restricts nothing. */
export const unrestricted: ThreadLayout = { vcpus: new Map(), ioThreads: new Map() }
