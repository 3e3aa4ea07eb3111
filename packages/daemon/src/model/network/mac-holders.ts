/**
 * Who has which MAC address on a network. Two ports of a bridge with one address take each other's packets, so no two NICs of a network
 * have one, whether their VMs run or not; on another network, or in user mode, the same one harms nobody.
 */
import { KvasirError, type NicSpec } from '@kvasir/contract'
import { macFor } from '../vm/mac.ts'
import { bridgeMac } from './link-names.ts'

/** A VM with what it is to be and, while it runs, what it was booted as. */
export interface NicOwner {
  readonly id: string
  readonly name: string
  readonly spec: { readonly nics: readonly NicSpec[] }
  readonly run?: { readonly bootedSpec: { readonly nics: readonly NicSpec[] } } | undefined
}

/** The MAC address of a NIC of a VM. */
export function macOf(vmId: string, nic: Pick<NicSpec, 'name' | 'mac'>): string {
  return nic.mac ?? macFor(vmId, nic.name)
}

/** A MAC address for a NIC without one: the same each time, unless one of `taken` has it already. */
export function freshMac(vmId: string, nic: string, taken: ReadonlySet<string>): string {
  let mac = macFor(vmId, nic)
  for (let attempt = 2; taken.has(mac); attempt++) mac = macFor(vmId, `${nic}\n${attempt}`)
  return mac
}

/** Every MAC address that a VM has or is to have. */
export function macsOf(owner: NicOwner): readonly string[] {
  return nicsOf(owner).map((nic) => macOf(owner.id, nic))
}

/** Refuses NICs of one VM, or of two on the same network, with one MAC address: `bad-request`, `in-use` with the holder. */
export function requireOwnMacs(
  vm: NicOwner,
  others: readonly NicOwner[],
  networkIds: ReadonlyMap<string, string>,
): void {
  const own = new Map<string, string>()
  for (const nic of vm.spec.nics) {
    const mac = macOf(vm.id, nic)
    const twin = own.get(mac)
    if (twin !== undefined)
      throw new KvasirError(
        'bad-request',
        `NICs ${twin} and ${nic.name} of VM ${vm.name} have one MAC address, ${mac}, so it cannot be as its spec says.`,
        { details: { mac } },
      )
    own.set(mac, nic.name)
    const holder = nic.network === undefined ? undefined : holderOn(nic.network, { mac, others, networkIds })
    if (holder === undefined) continue
    throw new KvasirError(
      'in-use',
      `${holder} has the MAC address ${mac} on network ${nic.network}, so NIC ${nic.name} of VM ${vm.name} cannot have it.`,
      { details: { mac, network: nic.network, holder } },
    )
  }
}

function holderOn(
  network: string,
  {
    mac,
    others,
    networkIds,
  }: {
    readonly mac: string
    readonly others: readonly NicOwner[]
    readonly networkIds: ReadonlyMap<string, string>
  },
): string | undefined {
  const id = networkIds.get(network)
  if (id !== undefined && bridgeMac(id) === mac) return `The bridge of network ${network}`
  for (const owner of others)
    for (const nic of nicsOf(owner))
      if (nic.network === network && macOf(owner.id, nic) === mac)
        return `NIC ${nic.name} of VM ${owner.name}`
  return undefined
}

function nicsOf({ spec, run }: NicOwner): readonly NicSpec[] {
  return [...spec.nics, ...(run?.bootedSpec.nics ?? [])]
}
