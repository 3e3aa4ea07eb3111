/** Whether the NICs of a VM have MAC addresses, addresses and ports that nobody else has, as far as the rows of all others say. */
import type { NicSpec, VmSpec } from '@kvasir/contract'
import { macOf, macsOf, requireOwnMacs } from '../../model/network/mac-holders.ts'
import {
  type AddressHolder,
  addressesOf,
  type NicOnNetwork,
  needsAddress,
  pickAddress,
  requireOnNetwork,
} from '../../model/network/nic-addresses.ts'
import { requireOwnPorts } from '../../model/network/port-claims.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { requireNetwork } from './show-network.ts'

type Named = Pick<VmRecord, 'id' | 'name'>

/** `in-use` or `bad-request` for what another NIC has, or the network has not. VMs that are being created count. */
export function requireOwnNics(vm: Named, spec: Pick<VmSpec, 'nics'>, ports: Pick<Ports, 'store'>): void {
  if (spec.nics.length === 0) return
  const networkIds = new Map(ports.store.networks.list().map(({ name, id }) => [name, id]))
  requireOwnMacs({ ...vm, spec }, othersThan(vm.id, ports), networkIds)
  requireOwnPorts({ ...vm, spec })
  const given: (AddressHolder & { readonly network: string })[] = []
  for (const on of onNetworks(vm, spec.nics, ports)) {
    const { nic, network } = on
    const own = given.filter((other) => other.network === network.name)
    requireOnNetwork(on, [...holdersOn(network.name, vm, ports), ...own])
    for (const address of addressesOf(nic))
      given.push({ address, holder: `NIC ${nic.name} of VM ${vm.name}`, network: network.name })
  }
}

/** The NICs with an address each where they need one. */
export async function giveAddresses(vm: Named, nics: readonly NicSpec[], ports: Ports): Promise<NicSpec[]> {
  const given: NicSpec[] = []
  for (const nic of nics) {
    const [on] = onNetworks(vm, [nic], ports)
    if (!on || nic.address !== undefined || !needsAddress(nic, on.network)) {
      given.push(nic)
      continue
    }
    const own = [...given, ...nics].flatMap((other) =>
      other.network === nic.network && other.address !== undefined
        ? [{ address: other.address, holder: `NIC ${other.name}` }]
        : [],
    )
    const held = [...holdersOn(on.network.name, vm, ports), ...own]
    const address = pickAddress(on, { held, leases: await ports.networks.leases(on.network) })
    given.push(address === undefined ? nic : { ...nic, address })
  }
  return given
}

/** The MAC addresses that the NICs of other VMs have. */
export function takenMacs(vmId: string, ports: Pick<Ports, 'store'>): ReadonlySet<string> {
  return new Set(othersThan(vmId, ports).flatMap(macsOf))
}

function onNetworks(
  vm: Named,
  nics: readonly NicSpec[],
  ports: Pick<Ports, 'store'>,
): readonly NicOnNetwork[] {
  return nics.flatMap((nic) =>
    nic.network === undefined
      ? []
      : [{ vm: vm.name, nic, mac: macOf(vm.id, nic), network: requireNetwork(nic.network, ports) }],
  )
}

/** Who has which address on a network, but for one VM. */
function holdersOn(network: string, vm: Named, ports: Pick<Ports, 'store'>): readonly AddressHolder[] {
  return othersThan(vm.id, ports).flatMap(({ name, spec, run }) =>
    [...spec.nics, ...(run?.bootedSpec.nics ?? [])].flatMap((nic) =>
      nic.network === network
        ? addressesOf(nic).map((address) => ({ address, holder: `NIC ${nic.name} of VM ${name}` }))
        : [],
    ),
  )
}

function othersThan(vmId: string, { store }: Pick<Ports, 'store'>): readonly VmRecord[] {
  return store.vms.list().flatMap((row) => (row.kind === 'vm' && row.record.id !== vmId ? [row.record] : []))
}
