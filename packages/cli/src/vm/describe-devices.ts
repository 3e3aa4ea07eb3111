/** The other devices of a VM in a line: what it has, and what is to be known of it. */
import type { Vm } from '@kvasir/contract'

/** Such as `rng, balloon, agent, vnc, watchdog (i6300esb: reset)`. */
export function describeDevices({ spec, status }: Pick<Vm, 'spec' | 'status'>): string {
  const { devices, lifecycle } = spec
  const { rngBytesPerSecond, watchdogModel = 'i6300esb', pointer, keyboard } = devices
  const words = [
    devices.rng && (rngBytesPerSecond === undefined ? 'rng' : `rng (${rngBytesPerSecond} bytes/s)`),
    devices.balloon && 'balloon',
    devices.agent && 'agent',
    devices.vnc && 'vnc',
    devices.spice && `SPICE (${devices.usbRedirects ?? 2} USB redirects)`,
    devices.display === 'virtio' && 'virtio display',
    devices.display === 'virtio-gl' &&
      `virtio display with 3D${status.renderNode === undefined ? '' : ` (${status.renderNode})`}`,
    devices.vsock && (status.vsockCid === undefined ? 'vsock' : `vsock (CID ${status.vsockCid})`),
    devices.panic && `panic (${lifecycle.onPanic})`,
    devices.watchdog && `watchdog (${watchdogModel}: ${lifecycle.onWatchdog})`,
    devices.usb && 'usb',
    pointer !== undefined && pointer !== 'ps2' && `${pointer} tablet`,
    keyboard !== undefined && keyboard !== 'ps2' && `${keyboard} keyboard`,
    devices.sound && 'sound',
    devices.tpm && 'TPM',
  ]
  return words.filter((word) => word !== false && word !== undefined).join(', ') || 'none'
}
