/**
 * The watchdog: an i6300ESB on PCI, or the iTCO that the chipset of a q35 has anyway; Linux has a driver for both. What happens when it
 * fires is in lifecycle.ts.
 */
import { KvasirError } from '@kvasir/contract'
import type { BuildContext } from './build-context.ts'
import type { PciBus } from './pci-bus.ts'

/** That on PCI. It wants a window of memory alone, which root ports have too (QEMU: hw/watchdog/wdt_i6300esb.c). */
export function watchdogDevice(bus: PciBus) {
  return { driver: 'i6300esb', id: 'watchdog', ...bus.place('watchdog') }
}

/** The arguments for that of the chipset. Refuses it on a microvm. */
export function chipsetWatchdogArgs({ input }: BuildContext): readonly string[] {
  const { watchdog, watchdogModel } = input.spec.devices
  if (!watchdog || watchdogModel !== 'itco') return []
  if (input.spec.machine.type !== 'q35') {
    throw new KvasirError(
      'unsupported',
      `VM ${input.name} is a microvm, whose chipset has no watchdog, so it cannot start; set devices.watchdogModel to i6300esb.`,
      { details: { field: 'devices.watchdogModel' } },
    )
  }
  // It does nothing when it fires as long as the chipset's strap says "no reboot", which it does in QEMU 7.2 (hw/isa/lpc_ich9.c).
  return ['-global', 'ICH9-LPC.noreboot=off']
}
