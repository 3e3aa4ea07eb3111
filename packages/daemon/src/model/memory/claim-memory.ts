/**
 * What the running VMs could claim of the host at once, against what it could give.
 *
 * Counted as if the worst came: every guest uses all it has (a guest in want empties its balloon by itself), nothing stays merged by
 * KSM. Not counted: what an operator would have to give first (`memory.max`), and the page cache, which the kernel drops.
 */
import type { HostMemory } from '@kvasir/contract'
import { tcgCacheMib } from '../qemu/machine.ts'

/** One running VM, in bytes. */
export interface Claimant {
  /** What its guest has: the memory of the boot, and what is plugged or asked to be. */
  readonly hasBytes: number
  readonly balloonBytes: number
  readonly maximumBytes: number
  /** What the kernel holds for it; undefined when its emulator did not answer. */
  readonly held: { readonly residentBytes: number; readonly swappedBytes: number } | undefined
  /** What its cgroup lets it have, memory and swap together. */
  readonly capBytes: number | undefined
  /** Its memory was taken at its start: reserved pages, preallocated or locked. */
  readonly isHeld: boolean
  /** It runs under TCG, which keeps translated code too. */
  readonly isTranslated: boolean
}

/** What the host could give, in bytes. */
export interface Supply {
  readonly totalBytes: number
  readonly availableBytes: number
  readonly swapFreeBytes: number
  readonly ksmSavedBytes: number
}

/** What an emulator takes besides its guest's memory: programs, device state, the display. Measured at 37 to 90 MiB. */
const emulatorBytes = 64 * 2 ** 20

/** The sums over all running VMs, the overcommit ratio and the claim. */
export function claimMemory(
  vms: readonly Claimant[],
  supply: Supply,
): Pick<HostMemory, 'vms' | 'overcommit' | 'claim'> {
  const sum = (of: (vm: Claimant) => number) => vms.reduce((total, vm) => total + of(vm), 0)
  const configuredBytes = sum((vm) => vm.hasBytes)
  const unsharedBytes = supply.ksmSavedBytes
  const claimableBytes = sum(claimOf) + unsharedBytes
  const { availableBytes, swapFreeBytes } = supply
  const shortBytes = Math.max(0, claimableBytes - availableBytes - swapFreeBytes)
  return {
    vms: {
      running: vms.length,
      configuredBytes,
      balloonBytes: sum((vm) => vm.balloonBytes),
      maximumBytes: sum((vm) => vm.maximumBytes),
      residentBytes: sum((vm) => vm.held?.residentBytes ?? 0),
      swappedBytes: sum((vm) => vm.held?.swappedBytes ?? 0),
      unanswered: vms.filter((vm) => vm.held === undefined).length,
    },
    overcommit: supply.totalBytes === 0 ? 0 : round(configuredBytes / supply.totalBytes),
    claim: {
      claimableBytes,
      unsharedBytes,
      availableBytes,
      swapFreeBytes,
      shortBytes,
      verdict: shortBytes > 0 ? 'short' : claimableBytes > availableBytes ? 'swaps' : 'fits',
    },
  }
}

function claimOf({ hasBytes, held, capBytes, isHeld, isTranslated }: Claimant): number {
  if (isHeld) return 0
  const besides = emulatorBytes + (isTranslated ? tcgCacheMib * 2 ** 20 : 0)
  const most = Math.min(hasBytes + besides, capBytes ?? Number.POSITIVE_INFINITY)
  return Math.max(0, most - (held?.residentBytes ?? 0) - (held?.swappedBytes ?? 0))
}

function round(ratio: number): number {
  return Math.round(ratio * 100) / 100
}
