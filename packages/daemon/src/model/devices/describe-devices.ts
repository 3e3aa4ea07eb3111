/**
 * The devices of a host, what uses them, and whether a VM could be given them.
 *
 * Two questions are told apart. Whether it can be done: the IOMMU has to be on, and the group has to hold nothing else that a driver of
 * the host works with, since the kernel hands out whole groups (Documentation/driver-api/vfio.rst). And what it would cost: a disk
 * that is mounted, the way out of the host, its only display. The latter may be forced.
 */
import type { HostDevice, HostIommu } from '@kvasir/contract'
import { slotOf, whyTogether } from './why-together.ts'

/** A PCI function with what hangs on it. */
export interface PciDeviceReading {
  readonly address: string
  readonly classCode: string
  readonly className: string
  readonly vendorId: string
  readonly deviceId: string
  readonly driver?: string | undefined
  readonly node?: number | undefined
  readonly iommuGroup?: number | undefined
  readonly interfaces: readonly string[]
  readonly vfs: readonly string[]
  readonly totalVfs?: number | undefined
  readonly resetMethods: readonly string[]
  readonly isBootDisplay: boolean
  readonly physicalFunction: string | undefined
  /** Those between it and the host, the nearest first; absent where the way is not to be seen. */
  readonly bridges?: readonly string[]
  readonly disks: readonly { readonly disk: string; readonly uses: readonly string[] }[]
  readonly links: readonly {
    readonly link: string
    readonly isUp: boolean
    readonly master?: string
    readonly hasDefaultRoute: boolean
  }[]
}

/** What is read of all devices of a host. */
export interface DevicesReading {
  readonly pci: readonly PciDeviceReading[]
  readonly usb: readonly {
    readonly address: string
    readonly vendorId: string
    readonly deviceId: string
    readonly product?: string
    readonly drivers: readonly string[]
  }[]
  readonly mdevs: readonly {
    readonly uuid: string
    readonly type?: string
    readonly parent?: string
    readonly iommuGroup?: number
  }[]
}

/** Who has which PCI function: the names of VMs by address. */
export type Holders = ReadonlyMap<string, string>

/** Who draws on which GPU: the names of VMs by its address. */
export type Renderers = ReadonlyMap<string, readonly string[]>

/** What is said of a device that the kernel cannot reset (kernel: drivers/pci/pci.c, pci_reset_supported). */
export const noReset =
  'the kernel knows no way to reset it, so whoever has it next finds what a guest left in it'

/** Drivers that leave a device alone, so that it does not keep its group with the host (drivers/vfio, pci-stub). */
const idleDrivers: readonly string[] = ['vfio-pci', 'pci-stub', 'pcieport']
/** The most uses that are named one by one. */
const mostNamed = 4

/** All devices, PCI functions first. */
export function describeDevices(
  reading: DevicesReading,
  iommu: HostIommu,
  { holders, renderers = new Map() }: { readonly holders: Holders; readonly renderers?: Renderers },
): readonly HostDevice[] {
  return [
    ...reading.pci.map((device) => describePci(device, { reading, iommu, holders, renderers })),
    ...reading.usb.map(({ address, vendorId, deviceId, product, drivers }) => ({
      kind: 'usb' as const,
      address,
      what: product ?? 'USB device',
      vendorId,
      deviceId,
      ...(drivers.length === 0 ? {} : { driver: drivers.join(', ') }),
      interfaces: [],
      resetMethods: [],
      usedBy: [],
      assignable: false,
      reason: 'USB devices are listed only: Kvasir does not give them to VMs yet',
    })),
    ...reading.mdevs.map(({ uuid, type, parent, iommuGroup }) => ({
      kind: 'mdev' as const,
      address: uuid,
      what: `${type ?? 'mediated device'}${parent === undefined ? '' : ` of ${parent}`}`,
      ...(iommuGroup === undefined ? {} : { iommuGroup }),
      interfaces: [],
      resetMethods: [],
      usedBy: [],
      assignable: false,
      reason: 'mediated devices are listed only: Kvasir does not give them to VMs yet',
    })),
  ]
}

interface Surroundings {
  readonly reading: DevicesReading
  readonly iommu: HostIommu
  readonly holders: Holders
  readonly renderers: Renderers
}

function describePci(device: PciDeviceReading, host: Surroundings): HostDevice {
  const { address, className, vendorId, deviceId, driver, node, iommuGroup, physicalFunction } = device
  const vm = host.holders.get(address)
  return {
    kind: 'pci',
    address,
    what: className,
    vendorId,
    deviceId,
    ...(driver === undefined ? {} : { driver }),
    ...(node === undefined ? {} : { node }),
    ...(iommuGroup === undefined ? {} : { iommuGroup }),
    ...(physicalFunction === undefined ? {} : { physicalFunction }),
    interfaces: device.links.map(({ link }) => link),
    resetMethods: [...device.resetMethods],
    ...(vm === undefined ? {} : { vm }),
    usedBy: [...usesOf(device, host)],
    ...judge(device, host),
  }
}

/** Whether the kernel would hand it out, and why not. */
function judge(
  device: PciDeviceReading,
  { reading, iommu }: Surroundings,
): Pick<HostDevice, 'assignable' | 'reason'> {
  const no = (reason: string) => ({ assignable: false, reason })
  if (device.classCode.startsWith('06')) return no(`a ${device.className} stays with the host`)
  if (iommu.state !== 'on') return no(iommu.reason)
  const group = iommu.groups.find(({ group: number }) => number === device.iommuGroup)
  if (group === undefined)
    return no('it is in no IOMMU group, so nothing would keep it from the host’s memory')
  if (!group.assignable) {
    const strangers = endsOfGroup(device, reading).filter((other) => slotOf(other) !== slotOf(device))
    return no(strangers.length > 0 ? `${group.reason}; ${whyTogether(device, strangers)}` : group.reason)
  }
  const others = busyOthers(device, reading)
  const unclean = device.resetMethods.length > 0 ? '' : `; ${noReset}`
  return {
    assignable: true,
    reason: `${
      others.length === 0
        ? `group ${group.group}: ${group.reason}`
        : `group ${group.group}: only together with ${others.map(nameOf).join(', ')}; ${whyTogether(device, others)}`
    }${unclean}`,
  }
}

/** Other functions of its group that a driver of the host works with. */
export function busyOthers(
  device: Pick<PciDeviceReading, 'address' | 'iommuGroup'>,
  { pci }: Pick<DevicesReading, 'pci'>,
): readonly PciDeviceReading[] {
  return endsOfGroup(device, { pci }).filter(
    ({ driver }) => driver !== undefined && !idleDrivers.includes(driver),
  )
}

/** Other functions of its group that are no bridges. */
function endsOfGroup(
  { address, iommuGroup }: Pick<PciDeviceReading, 'address' | 'iommuGroup'>,
  { pci }: Pick<DevicesReading, 'pci'>,
): readonly PciDeviceReading[] {
  if (iommuGroup === undefined) return []
  return pci.filter(
    (other) =>
      other.address !== address && other.iommuGroup === iommuGroup && !other.classCode.startsWith('0604'),
  )
}

function nameOf({ address, className, driver }: PciDeviceReading): string {
  return `${address} (${className}${driver === undefined ? '' : `, ${driver}`})`
}

/** What the host would lose, as clauses with the device as their subject. */
function usesOf(device: PciDeviceReading, { reading, holders, renderers }: Surroundings): readonly string[] {
  const disks = device.disks.map(({ disk, uses }) => {
    const rest = uses.length - mostNamed
    const named = `${uses.slice(0, mostNamed).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
    return `holds ${named} (${disk})`
  })
  const links = device.links.flatMap(({ link, isUp, master, hasDefaultRoute }) => {
    if (hasDefaultRoute) return [`is the host’s way out (${link})`]
    if (master !== undefined) return [`is a port of ${master} (${link})`]
    return isUp ? [`is an interface that is up (${link})`] : []
  })
  const vfs = device.vfs.filter((vf) => holders.has(vf))
  const drawing = renderers.get(device.address) ?? []
  return [
    ...disks,
    ...links,
    ...(drawing.length > 0 ? [`renders the 3D of VM ${drawing.join(', ')}`] : []),
    ...(vfs.length > 0 ? [`has VFs that VMs have (${vfs.join(', ')})`] : []),
    ...(isOnlyDisplay(device, reading) ? ['is the only display of the host'] : []),
  ]
}

function isOnlyDisplay(device: PciDeviceReading, { pci }: DevicesReading): boolean {
  const displays = pci.filter(({ classCode }) => classCode.startsWith('03'))
  return displays.length === 1 && displays[0] === device && device.isBootDisplay
}
