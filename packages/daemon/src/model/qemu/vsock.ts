/** vsock: sockets between host and guest without a network, by the VM's context id. */
import type { Hardware } from './hardware.ts'
import type { PciBus } from './pci-bus.ts'

/** What QEMU is given of the host, opened: a caged QEMU opens none itself. */
export const vsockPath = '/dev/vhost-vsock'

/** The device, without its descriptor. */
export function vsockDevice({ vsockCid }: Hardware, bus: PciBus) {
  return {
    driver: 'vhost-vsock-pci',
    id: 'vsock',
    ...bus.place('vsock'),
    'disable-legacy': 'on',
    'guest-cid': vsockCid,
  }
}
