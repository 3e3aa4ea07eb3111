/** Whether devices of the host can be handed to a VM while it runs: what a plan says besides the rules of its fields. */
import { formatBytes, KvasirError, type PlanChange, type VmSpec } from '@kvasir/contract'
import type { Seat } from '../../ports/drivers.ts'
import type { Emulator } from '../../ports/emulators.ts'
import type { Ports } from '../../ports/ports.ts'
import { chooseHostDevices, keptBy } from '../host/host-devices.ts'
import { hostDeviceField } from './moved-host-devices.ts'
import { capital } from './moving-kind.ts'

/** `in-use` or `unsupported` for a device that cannot be had now, `not-enough-memory` where the host has too little to lock all of the guest's. */
export async function requireLiveHostDevices(
  { record, emulator }: Pick<Seat, 'record' | 'emulator'>,
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
  await requireLockable({ name, spec, emulator }, ports)
}

/** All of the guest's memory is locked, so what it has not touched yet has to be there, and its limits have to let it. */
export async function requireLockable(
  {
    name,
    spec,
    emulator,
  }: { readonly name: string; readonly spec: VmSpec; readonly emulator: Emulator | undefined },
  { host }: Pick<Ports, 'host'>,
): Promise<void> {
  const { hard, size } = spec.memory
  const locks = `a device of the host locks all ${formatBytes(size)} of the memory of VM ${name}`
  if (hard !== undefined && hard < size)
    throw new KvasirError(
      'unsupported',
      `${capital(locks)}, which may take ${formatBytes(hard)} (memory.hard), so it is not handed over.`,
    )
  const { residentBytes = size } = (await emulator?.statistics()) ?? {}
  const wanted = size - residentBytes
  const available = await host.availableMemoryBytes()
  if (wanted > available)
    throw new KvasirError(
      'not-enough-memory',
      `${capital(locks)}, which has ${formatBytes(residentBytes)} of it, and the host has ${formatBytes(available)} left, so it is not handed over.`,
      { details: { wantedBytes: wanted, availableBytes: available } },
    )
}
