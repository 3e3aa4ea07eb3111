/** Whether NICs that are to be plugged or moved while the guest runs can be: what a plan says besides the rules of its fields. */
import { KvasirError, type PlanChange, type VmSpec } from '@kvasir/contract'
import { nicOf } from '../../model/vm/nic-rules.ts'
import type { Seat } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import { chooseNicVfs } from '../host/choose-nic-vfs.ts'
import { keptBy } from '../host/host-devices.ts'
import { nicNetworks } from '../networks/nic-networks.ts'
import { requireNetwork } from '../networks/show-network.ts'
import { movingFields } from './moved-nics.ts'
import { isOnSriov, notPlugged } from './plug-vf.ts'
import { requireLockable } from './require-host-devices.ts'

const otherwise = 'no NIC of a VM that runs is put on it'

/**
 * `network-inactive`, or `unsupported` for a network whose packets are too big for what the guest was told; `in-use`, `unsupported` or
 * `not-enough-memory` for a virtual function that cannot be had.
 */
export async function requireLiveNics(
  { record, emulator }: Pick<Seat, 'record' | 'emulator'>,
  { spec, changes }: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  ports: Ports,
): Promise<void> {
  const { name, run } = record
  for (const nic of spec.nics) {
    const fields = movingFields(nic.name)
    if (!changes.some(({ effect, field }) => effect === 'live' && fields.includes(field))) continue
    nicNetworks({ nics: [nic] }, ports, otherwise)
    const there = run && nicOf(run.bootedSpec, nic.name)
    if (there?.network === undefined || nic.network === undefined) continue
    const [before, after] = [there, nic].map(
      ({ mtu, network = '' }) => mtu ?? requireNetwork(network, ports).mtu,
    )
    if (before === after) continue
    throw new KvasirError(
      'unsupported',
      `The guest of VM ${name} was told an MTU of ${before} for NIC ${nic.name} and network ${nic.network} has ${after}, so the NIC is not moved while it runs; power the VM off first.`,
      { details: { nic: nic.name, network: nic.network } },
    )
  }
  await requireLiveVfs({ record, emulator }, { spec, changes }, ports)
}

/** A virtual function is there for each NIC that is to be one, and memory to lock for it. */
async function requireLiveVfs(
  { record, emulator }: Pick<Seat, 'record' | 'emulator'>,
  { spec, changes }: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  ports: Ports,
): Promise<void> {
  const { name, run } = record
  const there = run?.bootedHardware?.vfs ?? {}
  const comes = spec.nics.filter(
    (nic) =>
      there[nic.name] === undefined &&
      isOnSriov(nic, ports) &&
      changes.some(({ effect, field }) => effect === 'live' && field === `nics.${nic.name}`),
  )
  if (!run || comes.length === 0) return
  await chooseNicVfs(record, { nics: comes }, { taken: keptBy(record), otherwise: notPlugged, ports })
  await requireLockable({ name, spec, emulator }, ports)
}
