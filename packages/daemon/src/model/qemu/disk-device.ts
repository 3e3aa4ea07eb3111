import type { DiskSpec } from '@kvasir/contract'
import type { HardwareInput } from './hardware.ts'

/** What a disk is planned from. */
export type DiskInput = Pick<
  HardwareInput,
  'name' | 'spec' | 'hardware' | 'accelerator' | 'disks' | 'noIoUring'
>

/** What a disk's device is made from, whatever its bus. */
export interface DiskDevice {
  readonly disk: DiskSpec
  /** The node that it sits on; a drive without a medium has none. */
  readonly node: string | undefined
  readonly ioThread: string | undefined
  readonly bootIndex: number | undefined
  /** Shown to the guest: `/dev/disk/by-id/virtio-SERIAL`. At most 20 characters (virtio 1.2, 5.2.6.1). */
  readonly serial: string
}
