/** Whether the NICs of a VM have MAC addresses of their own, as far as the rows of all others say. */
import type { VmSpec } from '@kvasir/contract'
import { macsOf, requireOwnMacs } from '../../model/network/mac-holders.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'

/** `in-use` or `bad-request` for a MAC address that another NIC has. VMs that are being created count. */
export function requireMacs(
  vm: { readonly id: string; readonly name: string },
  spec: Pick<VmSpec, 'nics'>,
  ports: Pick<Ports, 'store'>,
): void {
  if (spec.nics.length === 0) return
  const networkIds = new Map(ports.store.networks.list().map(({ name, id }) => [name, id]))
  requireOwnMacs({ ...vm, spec }, othersThan(vm.id, ports), networkIds)
}

/** The MAC addresses that the NICs of other VMs have. */
export function takenMacs(vmId: string, ports: Pick<Ports, 'store'>): ReadonlySet<string> {
  return new Set(othersThan(vmId, ports).flatMap(macsOf))
}

function othersThan(vmId: string, { store }: Pick<Ports, 'store'>): readonly VmRecord[] {
  return store.vms.list().flatMap((row) => (row.kind === 'vm' && row.record.id !== vmId ? [row.record] : []))
}
