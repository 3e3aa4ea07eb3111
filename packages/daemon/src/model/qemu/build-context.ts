/** What each device file works with while a plan is made. */
import type { DescriptorList } from './descriptor-list.ts'
import type { HardwareInput } from './hardware.ts'
import type { PciBus } from './pci-bus.ts'

export interface BuildContext {
  readonly input: HardwareInput
  readonly descriptors: DescriptorList
  readonly bus: PciBus
}
