/** The devices of the host, who has them, and which of them a VM gets. */
import { type HostDevice, KvasirError, type VmSpec } from '@kvasir/contract'
import { chooseDevices } from '../../model/devices/choose-devices.ts'
import { describeDevices, type Holders } from '../../model/devices/describe-devices.ts'
import { judgeIommu } from '../../model/host/judge-iommu.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'

/** All devices of the host. */
export async function listHostDevices({
  ports,
  drivers,
}: Pick<Context, 'ports' | 'drivers'>): Promise<HostDevice[]> {
  const records = drivers.list().map((driver) => driver.view().record)
  return [...(await readDevices(holdersAmong(records), ports)).devices]
}

/** The addresses of what a VM is given at a start; nothing is read where its spec names none. */
export async function chooseHostDevices(
  { id, name }: Pick<VmRecord, 'id' | 'name'>,
  { hostDevices }: Pick<VmSpec, 'hostDevices'>,
  ports: Ports,
): Promise<Readonly<Record<string, string>> | undefined> {
  if (hostDevices.length === 0) return undefined
  const rows = ports.store.vms.list()
  const others = rows.flatMap((row) => (row.kind === 'vm' && row.record.id !== id ? [row.record] : []))
  return chooseDevices({ name, hostDevices }, await readDevices(holdersAmong(others), ports))
}

/** `in-use` when another VM was given one of the devices meanwhile. Whoever asks writes it down before anything else happens. */
export function requireUnlent(
  { id, name }: Pick<VmRecord, 'id' | 'name'>,
  hostDevices: VmRecord['hardware']['hostDevices'],
  drivers: Drivers,
): void {
  if (hostDevices === undefined) return
  const records = drivers.list().map((driver) => driver.view().record)
  const holders = holdersAmong(records.filter((record) => record.id !== id))
  for (const address of Object.values(hostDevices)) {
    const holder = holders.get(address)
    if (holder !== undefined)
      throw new KvasirError('in-use', `VM ${holder} has ${address}, so VM ${name} cannot have it.`)
  }
}

/** `unsupported` for memory that cannot be written down, since nobody can write down what a device of the host holds. */
export function requireNoHostDevices({ name, run }: Pick<VmRecord, 'name' | 'run'>, what: string): void {
  const addresses = Object.values(run?.bootedHardware?.hostDevices ?? {})
  if (addresses.length > 0)
    throw new KvasirError(
      'unsupported',
      `VM ${name} has devices of the host (${addresses.join(', ')}), whose state nobody can read, so its memory is not ${what}.`,
    )
}

async function readDevices(holders: Holders, ports: Pick<Ports, 'host'>) {
  const reading = await ports.host.devices()
  const { iommu: files, kernelOptions, pci: pciDevices } = reading
  return {
    reading,
    devices: describeDevices(reading, judgeIommu({ files, kernelOptions, pciDevices }), holders),
  }
}

/** What VMs that run have, and those that are being started; the latter have it in their rows before anything is done. */
function holdersAmong(records: readonly VmRecord[]): Holders {
  return new Map(
    records.flatMap(({ name, run, intent, hardware }) => {
      const had = run ? run.bootedHardware : intent === 'start' ? hardware : undefined
      return Object.values(had?.hostDevices ?? {}).map((address) => [address, name] as const)
    }),
  )
}
