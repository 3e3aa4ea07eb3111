/** The pointer of the display. A PS/2 mouse is always there and only knows how far it moved; a tablet knows where it is. */
import type { VmSpec } from '@kvasir/contract'
import type { PciBus } from './pci-bus.ts'
import { usbBus } from './usb.ts'

/** The tablet, on the USB controller or on PCI. */
export function pointerDevice(kind: VmSpec['devices']['pointer'], bus: PciBus) {
  if (kind === 'usb') return { driver: 'usb-tablet', id: 'pointer', bus: usbBus, port: '1' }
  return { driver: 'virtio-tablet-pci', id: 'pointer', ...bus.place('pointer'), 'disable-legacy': 'on' }
}
