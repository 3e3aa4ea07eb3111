/** Whether NICs that are to be plugged or moved while the guest runs can be: what a plan says besides the rules of its fields. */
import { KvasirError, type PlanChange, type VmSpec } from '@kvasir/contract'
import { nicOf } from '../../model/vm/nic-rules.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { nicNetworks } from '../networks/nic-networks.ts'
import { requireNetwork } from '../networks/show-network.ts'
import { movingFields } from './moved-nics.ts'

const otherwise = 'no NIC of a VM that runs is put on it'

/** `network-inactive`, or `unsupported` for a network whose packets are too big for what the guest was told. */
export function requireLiveNics(
  { name, run }: Pick<VmRecord, 'name' | 'run'>,
  { spec, changes }: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  ports: Ports,
): void {
  requireNoVfs({ name, run }, { spec, changes }, ports)
  for (const nic of spec.nics) {
    const fields = movingFields(nic.name)
    if (!changes.some(({ effect, field }) => effect === 'live' && fields.includes(field))) continue
    nicNetworks({ nics: [nic] }, ports, otherwise)
    const there = run && nicOf(run.bootedSpec, nic.name)
    if (there?.network === undefined || nic.network === undefined) continue
    const [before, after] = [there.network, nic.network].map((one) => requireNetwork(one, ports).mtu)
    if (before === after) continue
    throw new KvasirError(
      'unsupported',
      `The guest of VM ${name} was told an MTU of ${before} for NIC ${nic.name} and network ${nic.network} has ${after}, so the NIC is not moved while it runs; power the VM off first.`,
      { details: { nic: nic.name, network: nic.network } },
    )
  }
}

/** A virtual function is chosen, set up and handed over when the emulator starts, and given back when it has ended. */
function requireNoVfs(
  { name, run }: Pick<VmRecord, 'name' | 'run'>,
  { spec, changes }: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  { store }: Pick<Ports, 'store'>,
): void {
  for (const nic of [...spec.nics, ...(run?.bootedSpec.nics ?? [])]) {
    const fields = movingFields(nic.name)
    const isMoved = changes.some(({ effect, field }) => effect === 'live' && fields.includes(field))
    if (!isMoved || nic.network === undefined || !store.networks.findByName(nic.network)?.sriov) continue
    throw new KvasirError(
      'unsupported',
      `Network ${nic.network} gives virtual functions to VMs when they start, so NIC ${nic.name} of VM ${name} does not come, go or move while it runs; power the VM off first.`,
      { details: { nic: nic.name, network: nic.network } },
    )
  }
}
