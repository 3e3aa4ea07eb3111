/** What a VM is while its spec is compared with another one, and what its emulator is to be told of memory. */
import { type MemoryOrders, memoryOrders } from '../../model/memory/plug-memory.ts'
import { freePorts } from '../../model/pci/layout.ts'
import type { Situation } from '../../model/vm/plan-changes.ts'
import type { Ports } from '../../ports/ports.ts'
import type { NetworkRecord, VmRecord } from '../../ports/store.ts'

/** The situation of a VM, by its record. */
export function situationOf(record: VmRecord, { store, host }: Pick<Ports, 'store' | 'host'>): Situation {
  const { life, saved, hardware, run } = record
  const networks = store.networks.list()
  const namesOf = (wanted: NetworkRecord['mode']) =>
    new Set(networks.filter(({ mode }) => mode === wanted).map(({ name }) => name))
  return {
    state: saved ? 'saved' : life.state,
    plugMemory: hardware.plugMemory,
    bootBytes: bootBytesOf(record),
    booted: run?.bootedSpec,
    accelerator: run?.accelerator,
    macvtaps: namesOf('macvtap'),
    sriovs: namesOf('sriov'),
    lacksVsock: run !== undefined && !host.hasVsock(),
    bootedPci: run?.bootedHardware?.pci,
    freePorts: run?.bootedHardware && freePorts(run.bootedHardware, hardware),
  }
}

/** The memory that a VM's emulator has from its boot on; of a VM that is off, what its next one will have. */
export function bootBytesOf({ spec, run, hardware }: VmRecord): number {
  return hardware.plugMemory?.bootBytes ?? run?.bootedSpec.memory.size ?? spec.memory.size
}

/** What the emulator is to be told, so that its guest has what the spec says. A size that waits for the next boot does not count. */
export function ordersOf(record: VmRecord): MemoryOrders {
  const { spec, hardware } = record
  if (hardware.plugMemory) return memoryOrders(spec, hardware.plugMemory)
  return memoryOrders({ ...spec, memory: { ...spec.memory, size: bootBytesOf(record) } }, undefined)
}
