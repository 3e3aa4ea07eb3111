/** The virtio-serial controller, on whose ports the channels of a VM are. */
import { hasSerialBus } from '../pci/layout.ts'
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The bus of the controller, as devices on it name it. */
export const serialBus = 'serialbus.0'

/** The arguments for the controller; they come before its ports'. */
export function serialBusArgs({ input, bus }: BuildContext): readonly string[] {
  if (!hasSerialBus(input.spec)) return []
  return jsonOption('-device', { driver: 'virtio-serial-pci', id: 'serialbus', ...bus.place('serialbus') })
}
