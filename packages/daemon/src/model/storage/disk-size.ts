/** How large a disk can be: some sectors, none of them in part. */
import { KvasirError } from '@kvasir/contract'

/** What guests and emulators count disks in. */
const sectorBytes = 512

/** Refuses a size that no disk has; `words` names the disk or the volume. `bad-request`. */
export function requireDiskSize(words: string, capacityBytes: number): void {
  if (capacityBytes === 0)
    throw new KvasirError('bad-request', `${words} needs a size, or an image with a disk.`)
  if (capacityBytes % sectorBytes !== 0)
    throw new KvasirError(
      'bad-request',
      `${words} would have ${capacityBytes} bytes, which is no whole number of sectors of ${sectorBytes} bytes.`,
    )
}
