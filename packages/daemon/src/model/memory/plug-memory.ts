/**
 * Memory that is plugged and unplugged while the guest runs: a virtio-mem device whose region lies above the memory of the boot.
 *
 * A VM whose spec has `memory.max` boots with `memory.size` and a region for the rest. What the emulator was started with is written
 * into the hardware record: saved memory fits only an emulator started with the same, whatever the size has become since.
 *
 * Facts: QEMU's hw/virtio/virtio-mem.c (7.2). The guest decides what it gives back; a guest that resets is given all of it again.
 */
import { plugBlockBytes, type VmSpec } from '@kvasir/contract'

/** What an emulator was started with, in bytes. The region is a whole number of blocks. */
export interface PlugMemory {
  readonly bootBytes: number
  readonly regionBytes: number
}

/** What a cold start of a VM makes of its spec; undefined where nothing can be plugged. */
export function planPlugMemory({ memory }: VmSpec): PlugMemory | undefined {
  const regionBytes = wholeBlocks((memory.max ?? 0) - memory.size)
  return regionBytes > 0 ? { bootBytes: memory.size, regionBytes } : undefined
}

/** The memory that an emulator has from the boot on. */
export function bootMemoryBytes(spec: VmSpec, plugMemory: PlugMemory | undefined): number {
  return plugMemory?.bootBytes ?? spec.memory.size
}

/** What a running emulator is to be told, in bytes, so that its guest has what the spec says. */
export interface MemoryOrders {
  /** The requested size of the virtio-mem device; undefined where there is none. */
  readonly plugged: number | undefined
  /** What the balloon leaves of the memory of the boot: QEMU's balloon knows no other. */
  readonly balloon: number
}

/** The orders for the emulator of a spec. A size that only a boot can give is left as near as this emulator comes to it. */
export function memoryOrders(spec: VmSpec, plugMemory: PlugMemory | undefined): MemoryOrders {
  const { size, target } = spec.memory
  const boot = bootMemoryBytes(spec, plugMemory)
  const wanted = wholeBlocks(Math.max(0, size - boot))
  const plugged = plugMemory && Math.min(wanted, plugMemory.regionBytes)
  const taken = target === undefined ? 0 : Math.max(0, size - target)
  return { plugged, balloon: Math.max(plugBlockBytes, boot - taken) }
}

function wholeBlocks(bytes: number): number {
  return Math.floor(bytes / plugBlockBytes) * plugBlockBytes
}
