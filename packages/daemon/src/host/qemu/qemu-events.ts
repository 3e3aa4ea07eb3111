/** QMP events in our words. Pure: what follows from an event is decided elsewhere. */
import type { QmpEvent } from '@kvasir/qmp'
import type { EmulatorEvent } from '../../ports/emulators.ts'

/** The id of the guest agent's port, as the argv names it (model/qemu/agent-channel.ts). */
const agentPort = 'agent-port'

/** What an event means to a VM's driver; undefined for those that mean nothing to it. */
export function translateEvent(event: QmpEvent): EmulatorEvent | undefined {
  // The names are those of the running QEMU; `data` has the shape of its own introspection.
  const data = event.data as Readonly<Record<string, unknown>> | undefined
  switch (event.event) {
    case 'STOP':
      return { kind: 'stopped' }
    case 'RESUME':
      return { kind: 'resumed' }
    case 'RESET':
      return { kind: 'reset', byGuest: data?.['guest'] === true }
    case 'SHUTDOWN':
      return {
        kind: 'shutdown',
        byGuest: data?.['guest'] === true,
        reason: textOf(data?.['reason'], 'unknown'),
      }
    case 'POWERDOWN':
      return { kind: 'powering-down' }
    case 'GUEST_PANICKED':
      return { kind: 'panicked', action: textOf(data?.['action'], 'pause') }
    case 'WATCHDOG':
      return { kind: 'watchdog', action: textOf(data?.['action'], 'none') }
    case 'BLOCK_IO_ERROR':
      return {
        kind: 'io-error',
        node: textOf(data?.['node-name'], ''),
        noSpace: data?.['nospace'] === true,
        reason: textOf(data?.['reason'], ''),
      }
    case 'VSERPORT_CHANGE':
      return data?.['id'] === agentPort ? { kind: 'agent', connected: data['open'] === true } : undefined
    case 'NETDEV_STREAM_DISCONNECTED':
      return { kind: 'network-lost', netdev: textOf(data?.['netdev-id'], '') }
    case 'BALLOON_CHANGE':
      return { kind: 'balloon', actualBytes: Number(data?.['actual'] ?? 0) }
    case 'MEMORY_DEVICE_SIZE_CHANGE':
      return { kind: 'plugged', bytes: Number(data?.['size'] ?? 0) }
    default:
      return undefined
  }
}

function textOf(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}
