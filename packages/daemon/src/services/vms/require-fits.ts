/** Whether a VM can run on this host at all. */
import type { VmSpec } from '@kvasir/contract'
import { formatBytes, KvasirError } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import { requireShares } from './shares.ts'

/** Refuses a VM with more memory than the host has, and kernels and media that are not there. */
export async function requireFits(spec: VmSpec, name: string, ports: Ports): Promise<void> {
  const total = await ports.host.totalMemoryBytes()
  if (spec.memory.size > total)
    throw new KvasirError(
      'not-enough-memory',
      `VM ${name} wants ${formatBytes(spec.memory.size)} of memory and the host has ${formatBytes(total)}, so it cannot run here.`,
      { details: { wantedBytes: spec.memory.size, totalBytes: total } },
    )
  const { max } = spec.memory
  if (max !== undefined && max > total)
    throw new KvasirError(
      'not-enough-memory',
      `VM ${name} is to grow up to ${formatBytes(max)} and the host has ${formatBytes(total)}, so memory.max is refused.`,
      { details: { wantedBytes: max, totalBytes: total } },
    )
  for (const { file } of spec.disks) if (file !== undefined) await ports.host.checkMedium(file)
  for (const { romFile } of spec.hostDevices)
    if (romFile !== undefined) await ports.host.checkBootFile(romFile)
  await requireShares(spec, name, ports)
  const kernel = spec.boot.kernel
  if (!kernel) return
  await ports.host.checkBootFile(kernel.kernel)
  if (kernel.initrd) await ports.host.checkBootFile(kernel.initrd)
}
