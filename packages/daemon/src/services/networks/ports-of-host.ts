/** Whether the ports that a VM's NICs are to have are free: looked at before a start, and claimed at once with its row. */
import { requireUnclaimedPorts, requireUnheardPorts } from '../../model/network/port-claims.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** `in-use` when a program of the host listens where a network is to forward. */
export async function requireUnheard(vm: Pick<VmRecord, 'name' | 'spec'>, ports: Ports): Promise<void> {
  const hasAny = vm.spec.nics.some(({ network, forwards }) => network !== undefined && forwards.length > 0)
  if (hasAny) requireUnheardPorts(vm, await ports.networks.listeners())
}

/** `in-use` when another VM has one of the ports. Whoever asks writes the VM's claim down before anything else happens. */
export function requireUnclaimed(vm: Pick<VmRecord, 'id' | 'name' | 'spec'>, drivers: Drivers): void {
  requireUnclaimedPorts(
    vm,
    drivers.list().map((driver) => driver.view().record),
  )
}
