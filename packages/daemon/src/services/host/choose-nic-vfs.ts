/** Virtual functions of the host's NICs for the NICs of a VM that are on networks of mode sriov. */
import type { NicSpec, VmSpec } from '@kvasir/contract'
import { type ChosenVf, chooseVfs } from '../../model/devices/choose-vfs.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { requireNetwork } from '../networks/show-network.ts'
import { readOffer } from './host-devices.ts'

/** Which NIC is which; nothing is read where none is. `taken` are devices that the VM gets, or has, besides. */
export async function chooseNicVfs(
  record: Pick<VmRecord, 'id' | 'name'>,
  { nics }: Pick<VmSpec, 'nics'>,
  {
    taken = {},
    otherwise,
    ports,
  }: {
    readonly taken?: Readonly<Record<string, string>> | undefined
    /** What follows where there is none: the VM cannot start, when not said. */
    readonly otherwise?: string
    readonly ports: Ports
  },
): Promise<Readonly<Record<string, ChosenVf>> | undefined> {
  const wishes = nics.flatMap((nic) => wishOf(nic, ports))
  if (wishes.length === 0) return undefined
  return chooseVfs(record.name, wishes, {
    offer: await readOffer(record, ports),
    taken,
    otherwise,
  })
}

function wishOf({ name, network }: NicSpec, ports: Ports) {
  const sriov = network === undefined ? undefined : requireNetwork(network, ports).sriov
  return network === undefined || sriov === undefined ? [] : [{ nic: name, network, pfs: sriov.pfs }]
}
