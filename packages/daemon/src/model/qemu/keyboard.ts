/**
 * The keyboard. That of PS/2 is part of a q35's chipset and silent beside another: keys go to the one that was activated last, which the USB one is
 * when it is made, and the virtio one when the guest's driver takes it (QEMU: ui/input.c, hw/input/hid.c, hw/input/virtio-input-hid.c). A microvm has
 * none of its own.
 */
import type { VmSpec } from '@kvasir/contract'
import type { PciBus } from './pci-bus.ts'
import { usbBus } from './usb.ts'

/** The last port of the USB bus: the first are those of the tablet and of what viewers have. */
const usbPort = '8'

/** The keyboard, on the USB controller or on PCI. */
export function keyboardDevice(kind: VmSpec['devices']['keyboard'], bus: PciBus) {
  if (kind === 'usb') return { driver: 'usb-kbd', id: 'keyboard', bus: usbBus, port: usbPort }
  return { driver: 'virtio-keyboard-pci', id: 'keyboard', ...bus.place('keyboard'), 'disable-legacy': 'on' }
}
