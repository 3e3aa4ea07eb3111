/**
 * PCI functions as /sys/bus/pci/devices shows them. Serial numbers, vital product data and configuration space are not looked at.
 *
 * `sriov_numvfs` is not read either, for its reader waits while a driver makes VFs; the links `virtfnN` say the same.
 */
import { type HostTree, readNumber } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'

const busFolder = '/sys/bus/pci/devices'

/** An address such as `0000:3b:00.1`; some domains have more than four digits. */
const pciAddressPattern = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/

export interface PciReading {
  readonly address: string
  /** Six hexadecimal digits: class, subclass, interface. */
  readonly classCode: string
  readonly vendorId: string
  readonly deviceId: string
  readonly driver?: string
  readonly node?: number
  readonly iommuGroup?: number
  /** Network interfaces that its driver made, and whether one of them is up. */
  readonly interfaces: readonly string[]
  readonly isUp: boolean
  /** How many VFs it can have, for a device with SR-IOV. */
  readonly totalVfs?: number
  /** Addresses of the VFs that exist. */
  readonly vfs: readonly string[]
}

/** The PCI functions of a tree. */
export function readPciDevices(tree: HostTree): readonly PciReading[] {
  return tree
    .list(busFolder, pciAddressPattern)
    .toSorted()
    .map((address) => readDevice(tree, address))
}

function readDevice(tree: HostTree, address: string): PciReading {
  const folder = `${busFolder}/${address}`
  const hex = (name: string, digits: number) =>
    new RegExp(`^0x([0-9a-f]{${digits}})$`).exec(tree.readText(`${folder}/${name}`) ?? '')?.[1] ??
    '0'.repeat(digits)
  const node = readNumber(tree, `${folder}/numa_node`)
  const group = tree.linkName(`${folder}/iommu_group`)
  const interfaces = tree.list(`${folder}/net`, /^[^/\s]{1,15}$/)
  const totalVfs = readNumber(tree, `${folder}/sriov_totalvfs`)
  return withoutAbsent({
    address,
    classCode: hex('class', 6),
    vendorId: hex('vendor', 4),
    deviceId: hex('device', 4),
    driver: tree.linkName(`${folder}/driver`),
    node: node === undefined || node < 0 ? undefined : node,
    iommuGroup: group === undefined || !/^\d{1,6}$/.test(group) ? undefined : Number(group),
    interfaces,
    isUp: interfaces.some((name) => tree.readText(`${folder}/net/${name}/operstate`) === 'up'),
    totalVfs: totalVfs === undefined || totalVfs <= 0 ? undefined : totalVfs,
    vfs: tree.list(folder, /^virtfn\d{1,4}$/).flatMap((name) => tree.linkName(`${folder}/${name}`) ?? []),
  })
}
