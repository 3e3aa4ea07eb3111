/**
 * How the memory of a VM that runs is made, in words of its status; and what of its spec this host cannot carry out.
 *
 * Facts: QEMU advises huge pages for all guest memory (7.2: softmmu/physmem.c), so a host that gives them to who asks (`madvise`) gives them to
 * every VM that does not forgo them. Where the host says `never`, no process gets any at a page fault.
 */
import type { MemoryBacking, VmSpec } from '@kvasir/contract'
import { hugePageBytes } from '@kvasir/contract'
import type { ThpMode } from './host-memory.ts'

type Memory = VmSpec['memory']

/** Whether KSM can merge such memory at all: it merges private memory in pages of the kernel. */
export function canMerge({ sharing, pageSize }: Memory): boolean {
  return sharing === 'private' && pageSize === 'default'
}

/** Whether the host holds all of the memory for the guest from its start on, used or not. */
export function isHeld({ pageSize, preallocate, lock }: Memory): boolean {
  return pageSize !== 'default' || preallocate || lock
}

/** How memory is backed that was started as a spec says. */
export function backingOf(memory: Memory): MemoryBacking {
  const { sharing, pageSize, thp, ksm, preallocate, lock, nodes, nodePolicy } = memory
  return {
    sharing,
    pages: pageSize === 'default' ? 'kernel' : 'reserved',
    ...(pageSize === 'default' ? {} : { pageBytes: hugePageBytes[pageSize] }),
    thp,
    ksm: ksm && canMerge(memory),
    preallocated: preallocate || pageSize !== 'default',
    locked: lock,
    nodes: [...nodes],
    ...(nodes.length > 0 ? { nodePolicy } : {}),
  }
}

/** What this host makes of `memory.thp`, where that is not what it says. */
export function thpNotes(memory: Memory, mode: ThpMode | undefined): readonly string[] {
  if (memory.thp !== 'always' || memory.pageSize !== 'default' || mode === undefined) return []
  // A tmpfs that was mounted with huge pages has them whatever the host says of anonymous memory.
  if (memory.sharing === 'shared' && mode !== 'absent') return []
  switch (mode) {
    case 'always':
      return []
    case 'madvise':
      return [
        'The host gives transparent huge pages to who asks for them (madvise), which its emulator does: memory.thp always adds nothing.',
      ]
    case 'never':
      return [
        'The host gives transparent huge pages to nobody (never), so memory.thp always is without effect until that is changed: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled.',
      ]
    case 'absent':
      return [
        "The host's kernel was built without transparent huge pages, so memory.thp always is without effect.",
      ]
  }
}
