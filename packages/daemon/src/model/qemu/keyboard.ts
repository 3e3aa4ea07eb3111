/**
 * The keyboard. That of PS/2 is part of a q35's chipset and silent beside another: keys go to the one that was activated last, which the USB one is
 * when it is made, and the virtio one when the guest's driver takes it (QEMU: ui/input.c, hw/input/hid.c, hw/input/virtio-input-hid.c). A microvm has
 * none of its own.
 */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'
import { usbBus } from './usb.ts'

/** The last port of the USB bus: the first are those of the tablet and of what viewers have. */
const usbPort = '8'

/** The arguments for a keyboard; they come after the USB controller's. */
export function keyboardArgs({ input, bus }: BuildContext): readonly string[] {
  switch (input.spec.devices.keyboard) {
    case 'usb':
      return jsonOption('-device', { driver: 'usb-kbd', id: 'keyboard', bus: usbBus, port: usbPort })
    case 'virtio':
      return jsonOption('-device', {
        driver: 'virtio-keyboard-pci',
        id: 'keyboard',
        ...bus.place('keyboard'),
        'disable-legacy': 'on',
      })
    case 'ps2':
    case undefined:
      return []
  }
}
