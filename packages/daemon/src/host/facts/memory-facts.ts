/** What this daemon may do with memory, and what its kernel does by itself. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { readProcessStatus } from '@kvasir/linux'
import type { ThpMode } from '../../model/memory/host-memory.ts'

/** CAP_SYS_RESOURCE of capabilities(7), which lifts limits. */
const sysResource = 1n << 24n
const thpFile = '/sys/kernel/mm/transparent_hugepage/enabled'

/** What a process of ours may be allowed to lock; undefined: anything. */
export async function lockableBytes(): Promise<number | undefined> {
  const status = await readProcessStatus(process.pid, process.pid)
  if (status !== undefined && (status.capabilities.effective & sysResource) !== 0n) return undefined
  const limits = await readFile('/proc/self/limits', 'utf8')
  const hard = /^Max locked memory\s+\S+\s+(\d+)/m.exec(limits)?.[1]
  return hard === undefined ? undefined : Number(hard)
}

/** How the kernel has transparent huge pages (Documentation/admin-guide/mm/transhuge.rst). */
export async function thpMode(): Promise<ThpMode> {
  if (!existsSync(thpFile)) return 'absent'
  const word = /\[(\w+)\]/.exec(await readFile(thpFile, 'utf8'))?.[1]
  return word === 'always' || word === 'madvise' || word === 'never' ? word : 'absent'
}
