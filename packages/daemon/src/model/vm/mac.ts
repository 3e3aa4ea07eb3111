/**
 * MAC addresses of NICs: a digest of the VM's UUID and the NIC's name, so that the same NIC always gets the same one.
 *
 * 52:54:00 is the prefix that QEMU and libvirt use for virtual NICs. 24 bits remain; whoever creates a VM checks for a collision.
 */
import { createHash } from 'node:crypto'

/** The MAC address of a NIC without one: lower case, unicast. */
export function macFor(uuid: string, nic: string): string {
  const digest = createHash('sha256').update(`${uuid.toLowerCase()}\n${nic}`).digest()
  const tail = [...digest.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, '0'))
  return ['52', '54', '00', ...tail].join(':')
}
