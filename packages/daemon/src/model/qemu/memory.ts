/**
 * Guest memory as one explicit backend (design decision 1), and what it takes besides.
 *
 * private: anonymous memory, which KSM can merge and which gets transparent huge pages. shared: a file on a tmpfs of our own with huge
 * pages, aligned to them; a shared memfd was measured to lie 4 KiB off, which costs every huge page. Reserved huge pages come as a
 * memfd either way: hugetlbfs aligns by itself, nothing needs to be mounted, and the pages go back when the process ends, however.
 *
 * Not here: whether the host has the pages (model/memory), the balloon.
 */
import { hugePageBytes, type VmSpec } from '@kvasir/contract'
import { canMerge, isHeld } from '../memory/backing.ts'
import { bootMemoryBytes } from '../memory/plug-memory.ts'
import type { OptionValue } from '../storage/volume-source.ts'
import { type MemoryPlan, memoryDirectory } from './emulator-plan.ts'
import type { HardwareInput } from './hardware.ts'
import { handedOver } from './host-devices.ts'
import { bootBackendIds, memoryBackendId, plugBackendId } from './ids.ts'
import { lockableBytes } from './locked-memory.ts'
import { jsonOption, keyValues } from './options.ts'

type Memory = VmSpec['memory']

const mib = 2 ** 20
/** Beyond this many, threads that take memory wait for each other in the kernel. */
const mostPreallocatingThreads = 16

/** The arguments for the memory. */
export function memoryArgs(input: HardwareInput): readonly string[] {
  const { memory } = input.spec
  const { plugMemory } = input.hardware
  const size = bootMemoryBytes(input.spec, plugMemory)
  const backend = input.guestNodes
    ? [] // Each node of the guest has its own (guest-nodes.ts).
    : jsonOption('-object', memoryBackend(input.spec, { id: memoryBackendId, size }))
  return [
    ...backend,
    '-m',
    `size=${size / mib}M${plugMemory === undefined ? '' : `,maxmem=${(size + plugMemory.regionBytes) / mib}M`}`,
    '-overcommit',
    keyValues(undefined, { 'mem-lock': memory.lock, 'cpu-pm': false }),
  ]
}

/** One backend of a VM's memory, made as its spec says. `size` in bytes. Of what is plugged later nothing is taken before. */
export function memoryBackend(
  { memory, cpu }: Pick<VmSpec, 'memory' | 'cpu'>,
  backend: { readonly id: string; readonly size: number; readonly isPlugged?: boolean },
): { readonly [key: string]: OptionValue } {
  const { id, size } = backend
  const isShared = memory.sharing === 'shared'
  const isPreallocated = !backend.isPlugged && (memory.preallocate || memory.pageSize !== 'default')
  const threads = memory.preallocateThreads ?? Math.min(Math.max(cpu.count, 4), mostPreallocatingThreads)
  const isBound = memory.nodes.length > 0
  return {
    ...kindOf(memory, id),
    id,
    size,
    share: isShared,
    merge: canMerge(memory) && memory.ksm,
    dump: false,
    prealloc: isPreallocated,
    'prealloc-threads': isPreallocated ? threads : undefined,
    'host-nodes': isBound ? memory.nodes : undefined,
    policy: isBound ? memory.nodePolicy : undefined,
  }
}

/** What the memory takes besides arguments. */
export function memoryPlan(input: HardwareInput): MemoryPlan {
  const { spec, hardware, hasThp, guestNodes, restorePath } = input
  const isReached = handedOver(input).hostDevices !== undefined
  const { memory } = spec
  const size = bootMemoryBytes(spec, hardware.plugMemory)
  return {
    fileSystem: isFile(memory)
      ? {
          sizeBytes: size + (hardware.plugMemory?.regionBytes ?? 0),
          huge: memory.thp !== 'never' && hasThp !== false,
          files: [
            ...bootBackendIds(guestNodes?.nodes.length),
            ...(hardware.plugMemory ? [plugBackendId] : []),
          ].map(fileOf),
        }
      : undefined,
    withoutThp: memory.thp === 'never',
    lockableBytes: lockableBytes({ spec, hardware }, { hasDevices: isReached }) || undefined,
    touchedBytes: isHeld(memory) || isReached ? size : 0,
    loadedBytes: restorePath === undefined ? 0 : size,
  }
}

function isFile({ sharing, pageSize }: Memory): boolean {
  return sharing === 'shared' && pageSize === 'default'
}

function fileOf(id: string): string {
  return `${memoryDirectory}/${id}`
}

function kindOf(memory: Memory, id: string): { readonly [key: string]: OptionValue } {
  if (memory.pageSize !== 'default')
    return {
      'qom-type': 'memory-backend-memfd',
      hugetlb: true,
      hugetlbsize: hugePageBytes[memory.pageSize],
    }
  if (isFile(memory))
    return { 'qom-type': 'memory-backend-file', 'mem-path': fileOf(id), align: hugePageBytes['2MiB'] }
  return { 'qom-type': 'memory-backend-ram' }
}
