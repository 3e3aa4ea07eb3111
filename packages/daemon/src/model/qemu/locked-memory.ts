/** What of an emulator's memory the kernel keeps where it is. */
import { ioThreadsOf } from '@kvasir/contract'
import { bootMemoryBytes } from '../memory/plug-memory.ts'
import type { HardwareInput } from './hardware.ts'

const mib = 2 ** 20
/** What an emulator maps besides the guest's memory: programs, translated code, the display. */
const emulatorBytes = 2 ** 30
/** The stack of a thread and the heap that malloc sets aside for it, which count as locked once all future mappings are. */
const threadBytes = (8 + 64) * mib
/** QEMU's own threads besides vCPUs: up to 64 workers for each I/O thread and the main loop. */
const workersPerLoop = 64

/**
 * What an emulator must be allowed to lock: what it locks itself, and what the kernel locks for devices of the host. Those reach the guest's
 * memory at any time, so all of it is locked for them, once for each container, and their windows besides; the kernel counts both kinds
 * (drivers/vfio/vfio_iommu_type1.c, mm/mlock.c).
 */
export function lockableBytes(
  { spec, hardware }: Pick<HardwareInput, 'spec' | 'hardware'>,
  { hasDevices }: { readonly hasDevices: boolean },
): number {
  const { memory, disks, cpu } = spec
  const size = bootMemoryBytes(spec, hardware.plugMemory)
  const threads = cpu.count + workersPerLoop * (ioThreadsOf(disks).length + 1)
  const own = memory.lock ? size + emulatorBytes + threads * threadBytes : 0
  return own + (hasDevices ? Math.max(size, memory.max ?? 0) + emulatorBytes : 0)
}
