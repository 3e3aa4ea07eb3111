/** What QEMU does with a request that the host did not carry out. */
import type { DiskSpec } from '@kvasir/contract'

const policies = { pause: 'stop', report: 'report', ignore: 'ignore' } as const

/**
 * The properties of a disk's device. Unless its spec says otherwise, a guest whose storage fails is paused with its request kept, and
 * never given an I/O error.
 */
export function errorPolicy({ onError = 'pause' }: Pick<DiskSpec, 'onError'>) {
  return { werror: policies[onError], rerror: policies[onError] }
}
