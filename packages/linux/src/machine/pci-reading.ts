/**
 * PCI functions as /sys/bus/pci/devices shows them. Serial numbers, vital product data and configuration space are not looked at.
 *
 * `sriov_numvfs` is not read either, for its reader waits while a driver makes VFs; the links `virtfnN` say the same.
 */
import { basename } from 'node:path'
import { type HostTree, readNumber } from './host-tree.ts'
import { withoutAbsent } from './present-fields.ts'

const busFolder = '/sys/bus/pci/devices'

/** An address such as `0000:3b:00.1`; some domains have more than four digits. */
const addressPattern = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/

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

/** The PCI functions of a tree. Links to devices that were not captured with them are left out. */
export function readPciDevices(tree: HostTree): readonly PciReading[] {
  const onBus = tree.list(busFolder, addressPattern).map((address) => `${busFolder}/${address}`)
  const folders = onBus.length > 0 ? onBus : findBelowBridges(tree)
  return folders
    .flatMap((folder) => readDevice(tree, folder) ?? [])
    .toSorted((a, b) => (a.address < b.address ? -1 : 1))
}

/** A capture may lack the links of the bus; then the devices are found where they sit, each once, below their bridges. */
function findBelowBridges(tree: HostTree): readonly string[] {
  const roots = tree.list('/sys/devices', /^pci[0-9a-f]{4,8}:[0-9a-f]{2}$/)
  const found = new Map<string, string>()
  const search = roots.map((name) => `/sys/devices/${name}`)
  for (const folder of search) {
    for (const address of tree.list(folder, addressPattern)) {
      if (found.has(address)) continue
      found.set(address, `${folder}/${address}`)
      search.push(`${folder}/${address}`)
    }
  }
  return [...found.values()]
}

function readDevice(tree: HostTree, folder: string): PciReading | undefined {
  const classCode = /^0x([0-9a-f]{6})$/.exec(tree.readText(`${folder}/class`) ?? '')?.[1]
  if (classCode === undefined) return undefined
  const hex = (name: string, digits: number) =>
    new RegExp(`^0x([0-9a-f]{${digits}})$`).exec(tree.readText(`${folder}/${name}`) ?? '')?.[1] ??
    '0'.repeat(digits)
  const node = readNumber(tree, `${folder}/numa_node`)
  const group = tree.linkName(`${folder}/iommu_group`)
  const interfaces = tree.list(`${folder}/net`, /^[^/\s]{1,15}$/)
  const totalVfs = readNumber(tree, `${folder}/sriov_totalvfs`)
  return withoutAbsent({
    address: basename(folder),
    classCode,
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
