/** What a metrics scrape shows of each VM: the last samples, so that no scrape waits for an emulator. */
import type { VmState } from '@kvasir/contract'
import type { BlockCounters } from '../../ports/emulators.ts'
import type { Context } from '../context.ts'

/** One VM as metrics see it. Counters are missing while nothing was sampled. */
export interface VmSample {
  readonly name: string
  readonly uuid: string
  readonly state: VmState
  readonly maximumMemoryBytes: number
  readonly memoryBytes: number | undefined
  readonly vcpus: number
  readonly cpuSeconds: number | undefined
  readonly vcpuWaitSeconds: number | undefined
  readonly disks: readonly BlockCounters[]
}

/** A sample of every VM. */
export async function collectSamples(context: Context): Promise<readonly VmSample[]> {
  return context.drivers.list().map((driver) => {
    const { record, statistics } = driver.view()
    return {
      name: record.name,
      uuid: record.id,
      state: record.life.state,
      maximumMemoryBytes: record.spec.memory.size,
      memoryBytes: statistics?.residentBytes,
      vcpus: record.spec.cpu.count,
      cpuSeconds: statistics?.cpuSeconds,
      vcpuWaitSeconds: statistics?.vcpus.reduce((sum, vcpu) => sum + vcpu.waitSeconds, 0),
      disks: statistics?.disks ?? [],
    }
  })
}
