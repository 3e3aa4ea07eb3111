/** QMP events in our words. Pure: what follows from an event is decided elsewhere. */
import type { QmpEvent } from '@kvasir/qmp'
import { isSmallDevice } from '../../model/qemu/small-devices.ts'
import type { EmulatorEvent } from '../../ports/emulators.ts'

/** The id of the guest agent's port, as the argv names it (model/qemu/agent-channel.ts). */
const agentPort = 'agent-port'

/** `_OST` codes of ACPI 6.5. */
const ejectRequest = 3
const ejectUnderWay = 0x84

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
    case 'ACPI_DEVICE_OST':
      return vcpuAnswer(data?.['info'])
    case 'DEVICE_DELETED':
    case 'DEVICE_UNPLUG_GUEST_ERROR':
      return (
        deviceAnswer(textOf(data?.['device'], ''), event.event === 'DEVICE_DELETED') ??
        vcpusIn(data?.['path'])
      )
    default:
      return undefined
  }
}

/** What became of a device, by what its id begins with. */
function deviceAnswer(device: string, isGone: boolean): EmulatorEvent | undefined {
  const answer = { device, isGone }
  if (/^(disk|scsi)-/.test(device)) return { kind: 'disk', answer }
  if (device.startsWith('nic-')) return { kind: 'nic', answer }
  if (device.startsWith('host-')) return { kind: 'host-device', answer }
  if (device.startsWith('fs-')) return { kind: 'share', answer }
  if (device.startsWith('channel-')) return { kind: 'channel', answer }
  if (isSmallDevice(device)) return { kind: 'device', answer }
  return undefined
}

/** QEMU 7.2 tells of a vCPU only by the path of its interrupt controller. */
function vcpusIn(path: unknown): EmulatorEvent | undefined {
  return /(^|\/)vcpu\d+(\/|$)|\/lapic$/.test(textOf(path, ''))
    ? { kind: 'vcpus', answer: undefined }
    : undefined
}

function textOf(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}

/**
 * What the guest's ACPI said of a vCPU. The source says what it answers: 0 and 1 that one has come, 3 that one is to go; status 0 is done, 0x84
 * is under way (ACPI 6.5, section 6.3.5; QEMU: docs/specs/acpi_cpu_hotplug).
 */
function vcpuAnswer(info: unknown): EmulatorEvent | undefined {
  if (typeof info !== 'object' || info === null || Reflect.get(info, 'slot-type') !== 'CPU') return undefined
  const source = Number(Reflect.get(info, 'source'))
  const status = Number(Reflect.get(info, 'status'))
  return {
    kind: 'vcpus',
    answer: {
      index: Number(Reflect.get(info, 'slot')),
      about: source === ejectRequest ? 'unplug' : 'plug',
      isDone: status === 0,
      isRefused: status !== 0 && status !== ejectUnderWay,
    },
  }
}
