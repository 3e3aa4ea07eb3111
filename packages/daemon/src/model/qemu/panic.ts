/** pvpanic: by it the guest's kernel says that it panicked. On the ISA bus of q35, where older guests find it too; else on PCI. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The events of the guest: bit 0 panicked, bit 1 crash kernel loaded (QEMU: docs/specs/pvpanic). */
const events = 3

/** The arguments for pvpanic. */
export function panicArgs({ input, bus }: BuildContext): readonly string[] {
  if (!input.spec.devices.panic) return []
  if (input.spec.machine.type === 'q35') {
    return jsonOption('-device', { driver: 'pvpanic', id: 'panic', events })
  }
  return jsonOption('-device', { driver: 'pvpanic-pci', id: 'panic', ...bus.place('panic'), events })
}
