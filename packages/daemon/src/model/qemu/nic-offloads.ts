/** What virtio-net leaves to the host of checksums and of the cutting of packets, and takes from it (hw/net/virtio-net.c; the standard's 5.1.3). */
import type { NicSpec, VmSpec } from '@kvasir/contract'
import type { QemuOptions } from './disk-plan.ts'
import { compareVersions } from './version.ts'

/** Offloads of every QEMU that plans are made for, by the names that it gives them; each follows from checksums. */
const offloads = [
  'csum',
  'gso',
  'host_tso4',
  'host_tso6',
  'host_ecn',
  'host_ufo',
  'guest_csum',
  'guest_tso4',
  'guest_tso6',
  'guest_ecn',
  'guest_ufo',
] as const
/** Those that machines have since 8.2; before, QEMU does not know them, or switches them off by itself. */
const newer = ['host_uso', 'guest_uso4', 'guest_uso6'] as const

/** The properties that switch them off, where they are to be; those that are on are QEMU's own. */
export function offloadOptions(
  { offloads: wanted = 'on' }: Pick<NicSpec, 'offloads'>,
  { version }: VmSpec['machine'],
): QemuOptions {
  if (wanted === 'on') return {}
  const isNewer = version !== undefined && compareVersions(version, '8.2') >= 0
  return Object.fromEntries([...offloads, ...(isNewer ? newer : [])].map((name) => [name, false]))
}
