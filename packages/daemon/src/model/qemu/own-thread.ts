/**
 * Whether a disk has an I/O thread, where its spec does not say.
 *
 * Under KVM it has: the thread's interrupts go to the guest by irqfd, past QEMU's main loop. TCG has no irqfd (hw/virtio/virtio-pci.c of
 * QEMU), so that each of them goes by the main loop all the same, and a request of 4 KiB took 1.1 times as long as without a thread.
 * A VM whose threads are given CPUs has it there too.
 */
import { type DiskSpec, ioThreadOf } from '@kvasir/contract'
import type { HardwareInput } from './hardware.ts'

/** The name of the thread; undefined: the disk is served by the main loop. */
export function ownThread(
  disk: DiskSpec,
  { spec, accelerator }: Pick<HardwareInput, 'spec' | 'accelerator'>,
): string | undefined {
  const thread = ioThreadOf(disk)
  if (thread === undefined || disk.ioThread !== undefined || accelerator === 'kvm') return thread
  const { placement, pin } = spec.cpu
  return placement !== 'none' || pin?.ioThreads[thread] !== undefined ? thread : undefined
}
