/** What the host's kernel holds for an emulator and what its cgroup allows, read from /proc and the cgroup's files. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes, KvasirError } from '@kvasir/contract'
import { readProcessMemory } from '@kvasir/linux'
import type { HeldMemory, MemoryLimits } from '../../ports/emulator-memory.ts'
import { thpMode } from '../facts/memory-facts.ts'
import type { PageWalks } from './page-walks.ts'

/** Above this, an emulator's page tables are not walked: a walk would take seconds and hold its page faults up meanwhile. */
const walkBytes = 8 * 2 ** 30

/** Reads what is held now. `emulator-unresponsive` when the emulator is gone. */
export async function readHeldMemory({
  pid,
  cgroup,
  walks,
}: {
  readonly pid: number
  readonly cgroup: string
  readonly walks: PageWalks
}): Promise<HeldMemory> {
  const [memory, limits, thp, lockedBytes] = await Promise.all([
    readProcessMemory(pid, { cgroup, walkBytes, walk: (work) => walks.run(work) }),
    readLimits(cgroup),
    thpMode(),
    readLockedBytes(pid),
  ])
  if (memory === undefined)
    throw new KvasirError(
      'emulator-unresponsive',
      `The emulator (pid ${pid}) is gone, so it holds no memory.`,
    )
  const { unwalked, ...rest } = memory
  return {
    ...rest,
    at: new Date().toISOString(),
    lockedBytes,
    thpMode: thp,
    limits,
    notes:
      unwalked === undefined
        ? []
        : [
            `${unwalkedNotes[unwalked]}, so the sizes of its pages and their nodes, which only a walk through all of them would tell, are left out.`,
          ],
  }
}

const unwalkedNotes = {
  'too-large': `It holds more than ${formatBytes(walkBytes)}`,
  'too-slow': 'The kernel did not walk through its pages in time',
} as const

async function readLockedBytes(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const kib = /^VmLck:\s+(\d{1,12}) kB$/m.exec(status)?.[1]
  return kib === undefined ? undefined : Number(kib) * 1024
}

async function readLimits(cgroup: string): Promise<MemoryLimits | undefined> {
  const [high, hard, swap] = await Promise.all(
    ['memory.high', 'memory.max', 'memory.swap.max'].map((file) =>
      readFile(join(cgroup, file), 'utf8').catch(() => undefined),
    ),
  )
  if (high === undefined && hard === undefined) return undefined
  return { high: numberOf(high), hard: numberOf(hard), swap: numberOf(swap) }
}

/** `max` is no limit. */
function numberOf(text: string | undefined): number | undefined {
  return /^\d{1,15}\n?$/.test(text ?? '') ? Number(text) : undefined
}
