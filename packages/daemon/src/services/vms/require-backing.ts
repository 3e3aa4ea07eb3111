/** Whether the host can make the memory of a VM as its spec says, right now. Nothing is asked for a VM that says nothing of it. */
import { requireAvailable, requireLockable, requireNodes } from '../../model/memory/host-memory.ts'
import {
  missingPages,
  type PageTaker,
  type PageWant,
  requirePageSize,
  tooFewPages,
  wantedPages,
} from '../../model/memory/hugepages.ts'
import type { MemoryPlan } from '../../model/qemu/emulator-plan.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** Refuses a start for want of huge pages, nodes, memory or the right to lock it; answers the huge pages that it will take. */
export async function requireBacking(
  { name, spec }: Pick<VmRecord, 'name' | 'spec'>,
  plan: MemoryPlan,
  ports: Ports,
): Promise<PageWant | undefined> {
  const { memory } = spec
  if (memory.nodes.length > 0) requireNodes(name, memory, (await ports.host.topology()).nodes)
  if (plan.lockableBytes !== undefined)
    requireLockable(name, plan.lockableBytes, await ports.host.lockableBytes())
  const want = wantedPages(name, spec)
  if (want === undefined) {
    if (plan.touchedBytes > 0)
      requireAvailable(name, plan.touchedBytes, await ports.host.availableMemoryBytes())
    return undefined
  }
  const reading = await ports.host.hugepages(want.pageBytes)
  requirePageSize(want, reading)
  if (reading.mayReserve || missingPages(want, reading.nodes).length === 0) return want
  if (reading.isUnsettled) return want // The launch waits for the others and judges then.
  throw tooFewPages(want, reading, takers(want, ports))
}

function takers(want: PageWant, ports: Ports): readonly PageTaker[] {
  return ports.store.vms.list().flatMap((row) => {
    if (row.kind !== 'vm' || row.record.run === undefined) return []
    const { name, run } = row.record
    const taken = wantedPages(name, run.bootedSpec)
    return taken?.pageBytes === want.pageBytes ? [{ vm: name, pages: taken.pages }] : []
  })
}
