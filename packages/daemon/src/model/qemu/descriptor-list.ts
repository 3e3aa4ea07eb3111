/**
 * Numbers the descriptors of a plan in the order in which the device files ask for them.
 *
 * Invariant: descriptor n of the list is number `firstDescriptor` + n in QEMU, and each is used once.
 */
import { type Descriptor, firstDescriptor } from './emulator-plan.ts'
import { keyValues } from './options.ts'

/** A descriptor that QEMU opens by name: as `/dev/fdset/N`. */
export interface DescriptorSet {
  readonly path: string
  readonly args: readonly string[]
}

/** The descriptors of one plan while it is made. */
export class DescriptorList {
  readonly #descriptors: Descriptor[] = []

  get all(): readonly Descriptor[] {
    return this.#descriptors
  }

  /** Adds a descriptor and answers its number in QEMU. */
  add(descriptor: Descriptor): number {
    this.#descriptors.push(descriptor)
    return firstDescriptor + this.#descriptors.length - 1
  }

  /** Adds a descriptor as an fd set of its own; `label` is an id of ours that `query-fdsets` shows. */
  addSet(descriptor: Descriptor, label: string): DescriptorSet {
    const fd = this.add(descriptor)
    return {
      path: `/dev/fdset/${fd}`,
      args: ['-add-fd', keyValues(undefined, { fd, set: fd, opaque: label })],
    }
  }
}
