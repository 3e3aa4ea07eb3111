/**
 * Devices of a host that a VM could be given, and what the host itself uses them for, from /sys and /proc.
 *
 * Facts: Documentation/ABI/testing/sysfs-bus-pci (reset_method, boot_vga), sysfs-bus-usb, sysfs-bus-vfio-mdev of the kernel.
 */

import { readBlockUses } from './block-uses.ts'
import { type HostTree, parseInteger } from './host-tree.ts'
import { readInterfaces } from './interface-reading.ts'
import { readIommu } from './iommu-reading.ts'
import { readKernelOptions } from './kernel-options.ts'
import { pciClassName } from './pci-class.ts'
import { readPciDevices } from './pci-reading.ts'
import { withoutAbsent } from './present-fields.ts'

const usbFolder = '/sys/bus/usb/devices'
const mdevFolder = '/sys/bus/mdev/devices'
const mdevPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A USB device, without hubs. */
export interface UsbReading {
  /** Its place: bus, then ports, such as `1-2.4`. */
  readonly address: string
  readonly vendorId: string
  readonly deviceId: string
  readonly product?: string
  readonly drivers: readonly string[]
}

/** A mediated device: a part of a device that its driver hands out. */
export interface MdevReading {
  readonly uuid: string
  readonly type?: string
  readonly parent?: string
  readonly iommuGroup?: number
}

/** All that is read of the devices of a host. */
export function readHostDevices(tree: HostTree) {
  const disks = readBlockUses(tree)
  const interfaces = readInterfaces(tree)
  return {
    pci: readPciDevices(tree).map((device) => ({
      ...device,
      className: pciClassName(device.classCode),
      resetMethods: resetMethodsOf(tree, device.address),
      bridges: bridgesAbove(tree, device.address),
      isBootDisplay: tree.readText(`/sys/bus/pci/devices/${device.address}/boot_vga`) === '1',
      physicalFunction: tree.linkName(`/sys/bus/pci/devices/${device.address}/physfn`),
      disks: disks.get(device.address) ?? [],
      links: interfaces.get(device.address) ?? [],
    })),
    usb: readUsb(tree),
    mdevs: readMdevs(tree),
    iommu: readIommu(tree),
    kernelOptions: readKernelOptions(tree),
  }
}

export type HostDevicesReading = ReturnType<typeof readHostDevices>

function readUsb(tree: HostTree): readonly UsbReading[] {
  return tree.list(usbFolder, /^\d+-[\d.]+$/).flatMap((address) => {
    const folder = `${usbFolder}/${address}`
    const [vendorId, deviceId] = [tree.readText(`${folder}/idVendor`), tree.readText(`${folder}/idProduct`)]
    const isHub = tree.readText(`${folder}/bDeviceClass`) === '09'
    if (isHub || !isHex(vendorId) || !isHex(deviceId)) return []
    const drivers = tree
      .list(folder, /^\d+-[\d.]+:\d+\.\d+$/)
      .flatMap((name) => tree.linkName(`${folder}/${name}/driver`) ?? [])
    const product = printable(tree.readText(`${folder}/product`))
    return [withoutAbsent({ address, vendorId, deviceId, product, drivers: [...new Set(drivers)] })]
  })
}

function readMdevs(tree: HostTree): readonly MdevReading[] {
  return tree.list(mdevFolder, mdevPattern).map((uuid) => {
    const target = tree.linkTarget(`${mdevFolder}/${uuid}`)
    return withoutAbsent({
      uuid,
      type: tree.linkName(`${mdevFolder}/${uuid}/mdev_type`),
      parent: target?.split('/').at(-2),
      iommuGroup: parseInteger(tree.linkName(`${mdevFolder}/${uuid}/iommu_group`)),
    })
  })
}

/** Before Linux 5.15 there is only a file by which a device is reset, whatever the way. */
function resetMethodsOf(tree: HostTree, address: string): readonly string[] {
  const folder = `/sys/bus/pci/devices/${address}`
  const methods = words(tree.readText(`${folder}/reset_method`))
  return methods.length > 0 ? methods : tree.list(folder, /^reset$/)
}

/** The bridges between a function and the host, the nearest first: its place below /sys/devices is the way there. */
function bridgesAbove(tree: HostTree, address: string): readonly string[] {
  const place = tree.linkTarget(`/sys/bus/pci/devices/${address}`) ?? ''
  const way = place.split('/').filter((part) => /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/.test(part))
  return way.slice(0, -1).reverse()
}

function words(text: string | undefined): readonly string[] {
  return text === undefined || text === '' ? [] : text.split(/\s+/)
}

function isHex(text: string | undefined): text is string {
  return text !== undefined && /^[0-9a-f]{4}$/.test(text)
}

/** What a device says of itself is not to be trusted on a terminal. */
function printable(text: string | undefined): string | undefined {
  return text?.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 100)
}
