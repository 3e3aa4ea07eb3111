/**
 * One disk as QEMU is told of it, as plain data: in its arguments when it starts, over its monitor while it runs.
 */

import type { Reach } from '../storage/reach.ts'
import type { SecretObject } from '../storage/secret-use.ts'
import type { OptionValue } from '../storage/volume-source.ts'
import type { Descriptor, EmulatorPlan } from './emulator-plan.ts'

/** Options of QEMU by name; what is undefined is not said. */
export interface QemuOptions {
  readonly [name: string]: OptionValue
}

/** A node of the block graph. */
export interface BlockNode {
  /** What `filename` stands for, where the node is on a file of the host. */
  readonly file: Extract<Descriptor, { kind: 'file' }> | undefined
  /** The object that has to be there before the node is made. */
  readonly secret?: SecretObject | undefined
  readonly options: QemuOptions & { readonly driver: string; readonly 'node-name': string }
}

/** A disk, in the order in which its parts are made: nodes from the bottom up, objects, devices with their controller first. */
export interface DiskPlan {
  /** The disk's name. */
  readonly disk: string
  readonly nodes: readonly BlockNode[]
  readonly objects: readonly (QemuOptions & { readonly 'qom-type': string; readonly id: string })[]
  readonly devices: readonly (QemuOptions & { readonly driver: string; readonly id: string })[]
  /** The servers that QEMU speaks to for it. */
  readonly reach: readonly Reach[]
  /** The id of its own I/O thread. */
  readonly ioThread: string | undefined
  readonly ids: EmulatorPlan['ids']['disks'][string]
}
