/** Memory and swap of the whole machine, as /proc/meminfo counts them; its `kB` are KiB. Format: proc(5). */
import type { HostTree } from './host-tree.ts'

/** Reads /proc/meminfo of a tree; what it does not say is 0. */
export function readSystemMemory(tree: HostTree) {
  const text = tree.readText('/proc/meminfo') ?? ''
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d{1,12}) kB$`, 'm').exec(text)?.[1] ?? '0') * 1024
  return {
    totalBytes: bytes('MemTotal'),
    freeBytes: bytes('MemFree'),
    availableBytes: bytes('MemAvailable'),
    swapTotalBytes: bytes('SwapTotal'),
    swapFreeBytes: bytes('SwapFree'),
    zswapPoolBytes: bytes('Zswap'),
    zswappedBytes: bytes('Zswapped'),
    anonymousHugeBytes: bytes('AnonHugePages'),
  }
}
