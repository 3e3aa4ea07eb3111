/** The pointer of the display. A PS/2 mouse is always there and only knows how far it moved; a tablet knows where it is. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'
import { usbBus } from './usb.ts'

/** The arguments for a tablet; they come after the USB controller's. */
export function pointerArgs({ input, bus }: BuildContext): readonly string[] {
  switch (input.spec.devices.pointer) {
    case 'usb':
      return jsonOption('-device', { driver: 'usb-tablet', id: 'pointer', bus: usbBus, port: '1' })
    case 'virtio':
      return jsonOption('-device', {
        driver: 'virtio-tablet-pci',
        id: 'pointer',
        ...bus.place('pointer'),
        'disable-legacy': 'on',
      })
    case 'ps2':
    case undefined:
      return []
  }
}
