/** vsock: sockets between host and guest without a network, by the VM's context id. */
import type { BuildContext } from './build-context.ts'
import { jsonOption } from './options.ts'

/** The arguments for vsock, where the spec wants it, the VM has a CID and the host has the device. */
export function vsockArgs({ input, descriptors, bus }: BuildContext): readonly string[] {
  const { vsockCid } = input.hardware
  if (!input.spec.devices.vsock || !input.vsock || vsockCid === undefined) return []
  const fd = descriptors.add({ kind: 'device', path: '/dev/vhost-vsock' })
  return jsonOption('-device', {
    driver: 'vhost-vsock-pci',
    id: 'vsock',
    ...bus.place('vsock'),
    'disable-legacy': 'on',
    'guest-cid': vsockCid,
    vhostfd: String(fd),
  })
}
