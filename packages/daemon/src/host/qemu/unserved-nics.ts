/**
 * The back ends in user mode whose process has ended, as QEMU's own words show it: one of a NIC that was plugged is of the type `socket`, which
 * tells nobody when its other end goes, and is described by nothing from then on (QEMU: net/socket.c, net_socket_send).
 */
import type { QmpClient } from '@kvasir/qmp'

/** Their ids. */
export async function askUnserved(monitor: QmpClient): Promise<readonly string[]> {
  return unservedIn(await monitor.execute('human-monitor-command', { 'command-line': 'info network' }))
}

/** The ids in the text of `info network`. */
export function unservedIn(text: string): readonly string[] {
  return [...text.matchAll(/(\S+): index=\d+,type=socket,[ \r]*$/gm)].map(([, id = '']) => id)
}
