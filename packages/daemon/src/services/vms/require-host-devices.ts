/** Whether devices of the host can be handed to a VM while it runs: what a plan says besides the rules of its fields. */
import { KvasirError, type PlanChange, type VmSpec } from '@kvasir/contract'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import { chooseHostDevices, keptBy } from '../host/host-devices.ts'
import { hostDeviceField } from './moved-host-devices.ts'

/** `in-use` or `unsupported` for a device that cannot be had now, `not-enough-memory` where the host has too little to lock all of the guest's. */
export async function requireLiveHostDevices(
  record: Pick<VmRecord, 'id' | 'name' | 'run'>,
  { spec, changes }: { readonly spec: VmSpec; readonly changes: readonly PlanChange[] },
  ports: Ports,
): Promise<void> {
  const { name, run } = record
  const kept = run?.bootedHardware?.hostDevices ?? {}
  const isLive = (device: string) =>
    changes.some(({ effect, field }) => effect === 'live' && field === hostDeviceField(device))
  const comes = spec.hostDevices.filter((one) => isLive(one.name) && kept[one.name] === undefined)
  if (!run || comes.length === 0) return
  await chooseHostDevices(record, { hostDevices: comes }, { ports, kept: keptBy(record) })
  const { hard, size } = run.bootedSpec.memory
  if (hard !== undefined && hard < size)
    throw new KvasirError(
      'unsupported',
      `VM ${name} may take ${hard} bytes of memory (memory.hard), and a device of the host locks all ${size} of the guest's, so it is not handed over.`,
    )
}
