/** The devices of the host, who has them, and which of them a VM gets. */
import { type HostDevice, KvasirError, type VmSpec } from '@kvasir/contract'
import { addressesGiven } from '../../model/devices/addresses-given.ts'
import { chooseDevices } from '../../model/devices/choose-devices.ts'
import { describeDevices, type Holders } from '../../model/devices/describe-devices.ts'
import { judgeIommu } from '../../model/host/judge-iommu.ts'
import type { Drivers } from '../../ports/drivers.ts'
import type { Ports } from '../../ports/ports.ts'
import type { VmRecord } from '../../ports/store.ts'
import type { Context } from '../context.ts'
import { renderersAmong } from './graphics.ts'

/** All devices of the host. */
export async function listHostDevices({
  ports,
  drivers,
}: Pick<Context, 'ports' | 'drivers'>): Promise<HostDevice[]> {
  const records = drivers.list().map((driver) => driver.view().record)
  return [...(await readDevices(records, ports)).devices]
}

/** The addresses of what a VM is given, besides what it has (`kept`); nothing is read where its spec names none. */
export async function chooseHostDevices(
  record: Pick<VmRecord, 'id' | 'name'>,
  { hostDevices }: Pick<VmSpec, 'hostDevices'>,
  { ports, kept = {} }: { readonly ports: Ports; readonly kept?: Readonly<Record<string, string>> },
): Promise<Readonly<Record<string, string>> | undefined> {
  if (hostDevices.length === 0) return undefined
  return chooseDevices({ name: record.name, hostDevices, kept }, await readOffer(record, ports))
}

/** What a VM that runs has, by names that no device of a spec has twice. */
export function keptBy({ run }: Pick<VmRecord, 'run'>): Readonly<Record<string, string>> {
  const { hostDevices = {}, vfs = {} } = run?.bootedHardware ?? {}
  return {
    ...Object.fromEntries(Object.entries(vfs).map(([nic, { address }]) => [`nic ${nic}`, address])),
    ...hostDevices,
  }
}

/** The devices that a VM can choose from, and which of them others have. */
export async function readOffer({ id }: Pick<VmRecord, 'id'>, ports: Pick<Ports, 'host' | 'store'>) {
  const rows = ports.store.vms.list()
  const others = rows.flatMap((row) => (row.kind === 'vm' && row.record.id !== id ? [row.record] : []))
  return await readDevices(others, ports)
}

/** `network-refused` for a network whose guests would get devices of a host that gives none away. */
export async function requireIommu(network: string, { host }: Pick<Ports, 'host'>): Promise<void> {
  const { iommu: files, kernelOptions, pci: pciDevices } = await host.devices()
  const { state, reason } = judgeIommu({ files, kernelOptions, pciDevices })
  if (state !== 'on')
    throw new KvasirError(
      'network-refused',
      `Network ${network} cannot be made: its guests get devices of the host, and ${reason}.`,
      { details: { network } },
    )
}

/** `in-use` when another VM was given one of the devices meanwhile. Whoever asks writes it down before anything else happens. */
export function requireUnlent(
  { id, name }: Pick<VmRecord, 'id' | 'name'>,
  hardware: VmRecord['hardware'],
  drivers: Drivers,
): void {
  const addresses = addressesGiven(hardware)
  if (addresses.length === 0) return
  const records = drivers.list().map((driver) => driver.view().record)
  const holders = holdersAmong(records.filter((record) => record.id !== id))
  for (const address of addresses) {
    const holder = holders.get(address)
    if (holder !== undefined)
      throw new KvasirError('in-use', `VM ${holder} has ${address}, so VM ${name} cannot have it.`, {
        details: { address, holder },
      })
  }
}

/** `unsupported` for memory that cannot be written down, since nobody can write down what a device of the host holds. */
export function requireNoHostDevices({ name, run }: Pick<VmRecord, 'name' | 'run'>, what: string): void {
  const addresses = addressesGiven(run?.bootedHardware)
  if (addresses.length > 0)
    throw new KvasirError(
      'unsupported',
      `VM ${name} has devices of the host (${addresses.join(', ')}), whose state nobody can read, so its memory is not ${what}.`,
    )
}

async function readDevices(records: readonly VmRecord[], ports: Pick<Ports, 'host'>) {
  const reading = await ports.host.devices()
  const { iommu: files, kernelOptions, pci: pciDevices } = reading
  const users = { holders: holdersAmong(records), renderers: await renderersAmong(records, ports) }
  return {
    reading,
    devices: describeDevices(reading, judgeIommu({ files, kernelOptions, pciDevices }), users),
  }
}

/** What VMs that run have, and those that are being started; the latter have it in their rows before anything is done. */
export function holdersAmong(records: readonly VmRecord[]): Holders {
  return new Map(
    records.flatMap(({ name, run, intent, hardware }) => {
      const had = run ? run.bootedHardware : intent === 'start' ? hardware : undefined
      return addressesGiven(had).map((address) => [address, name] as const)
    }),
  )
}
