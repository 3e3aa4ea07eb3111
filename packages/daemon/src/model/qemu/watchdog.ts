/** The watchdog: an i6300ESB, for which Linux has a driver; what happens when it fires is in lifecycle.ts. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The arguments for the watchdog. */
export function watchdogArgs({ input, bus }: BuildContext): readonly string[] {
  if (!input.spec.devices.watchdog) return []
  return jsonOption('-device', { driver: 'i6300esb', id: 'watchdog', ...bus.place('watchdog') })
}
