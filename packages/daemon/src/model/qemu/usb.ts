/** USB: one xHCI controller, which serves every speed, with ports of a fixed number. */
import type { PciBus } from './pci-bus.ts'

/** The ports of each of the two root hubs. Every device has both kinds behind one connector (QEMU: docs/system/devices/usb). */
const ports = 8

/** The bus of the controller, as devices on it name it. */
export const usbBus = 'usb.0'

/** The controller. */
export function usbDevice(bus: PciBus) {
  return { driver: 'qemu-xhci', id: 'usb', ...bus.place('usb'), p2: ports, p3: ports }
}
