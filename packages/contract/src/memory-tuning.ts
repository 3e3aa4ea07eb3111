/**
 * How the memory of a VM changes while it runs: the balloon and its floor, how far memory can be plugged, and what its cgroup allows.
 *
 * Not here: its size and how the host makes it (memory-spec.ts), what it is right now (memory-status.ts).
 */
import { z } from 'zod'
import { formatBytes } from './size.ts'
import { byteSize } from './units.ts'

const mib = 2 ** 20

/** Memory is plugged and unplugged in blocks of this many bytes: a huge page of x86-64. */
export const plugBlockBytes = 2 * mib

/** What no guest goes on well below, in bytes: the floor of a balloon whose spec names none. */
const smallestFloorBytes = 64 * mib

/** What an emulator takes by itself leaves room for a guest from here on, in bytes; below it the kernel kills it at its start. */
const smallestHardBytes = 128 * mib

const wholeMib = (description: string) =>
  byteSize
    .refine((n) => n % mib === 0, 'is not a whole number of MiB')
    .optional()
    .meta({ description })

/** The fields of a spec's `memory` that matter while the VM runs. */
export const memoryTuning = {
  max: wholeMib(
    'Memory can be plugged up to this while the guest runs, by changing size. Needs virtio-mem in the guest (Linux 5.16).',
  ),
  target: wholeMib('What the balloon leaves to the guest; without it, all of size.'),
  floor: wholeMib('The balloon never leaves the guest less than this; without it, 64 MiB.'),
  high: wholeMib('memory.high of its cgroup: above it the kernel reclaims from the VM and slows it down.'),
  hard: wholeMib('memory.max of its cgroup: an emulator that cannot stay below it is killed.'),
  swap: wholeMib('memory.swap.max of its cgroup: how much of it may be swapped out; 0 for nothing.'),
}

/** The least that a balloon may leave to the guest, in bytes. */
export function floorOf(memory: { readonly size: number; readonly floor?: number | undefined }): number {
  return memory.floor ?? Math.min(smallestFloorBytes, memory.size)
}

interface Sizes {
  readonly size: number
  readonly max?: number | undefined
  readonly target?: number | undefined
  readonly floor?: number | undefined
  readonly high?: number | undefined
  readonly hard?: number | undefined
  readonly pageSize?: string | undefined
  readonly lock?: boolean | undefined
}

/** Refuses sizes of a `memory` that contradict each other. */
export function checkMemorySizes(memory: Sizes, ctx: z.RefinementCtx): void {
  const { size, max, target, floor, high, hard } = memory
  const refuse = (field: keyof Sizes, message: string) =>
    ctx.addIssue({ code: 'custom', path: [field], message })
  if (max !== undefined && max < size) refuse('max', `is less than the size, ${formatBytes(size)}`)
  if (floor !== undefined && floor > size) refuse('floor', `is more than the size, ${formatBytes(size)}`)
  if (target !== undefined && target > size) refuse('target', `is more than the size, ${formatBytes(size)}`)
  const least = floorOf(memory)
  if (target !== undefined && target < least)
    refuse('target', `is below the floor of ${formatBytes(least)}, which the balloon leaves to the guest`)
  if (target !== undefined && (memory.lock || (memory.pageSize ?? 'default') !== 'default'))
    refuse(
      'target',
      'cannot be had with memory that is locked or from reserved huge pages: the host gets none of it back',
    )
  if (hard !== undefined && hard < smallestHardBytes)
    refuse(
      'hard',
      `is less than ${formatBytes(smallestHardBytes)}, of which an emulator takes most by itself`,
    )
  if (high !== undefined && hard !== undefined && high > hard)
    refuse('high', `is more than the hard limit, ${formatBytes(hard)}`)
}

/** The body of `vm balloon` and `vm memory`: what the guest is to have, and how long it may take. */
export const memoryBody = z
  .strictObject({
    size: byteSize.optional().meta({ description: 'memory.size of the spec: plugged and unplugged.' }),
    target: byteSize.optional().meta({
      description: 'memory.target of the spec: what the balloon leaves; all of size for no target.',
    }),
    timeoutSeconds: z.int().min(1).max(3600).default(60),
  })
  .refine((body) => (body.size === undefined) !== (body.target === undefined), 'needs size or target')
  .meta({ id: 'VmMemory' })
