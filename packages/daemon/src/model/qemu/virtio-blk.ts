/** A disk as a virtio-blk device. */
import type { BuildContext } from './build-context.ts'
import type { DiskDevice } from './disk.ts'
import { deviceId } from './ids.ts'
import { jsonOption } from './options.ts'

/** More queues than this bring nothing to one disk. */
export const mostDiskQueues = 16

/** The arguments for a virtio-blk device. */
export function virtioBlkArgs({ input, bus }: BuildContext, device: DiskDevice): readonly string[] {
  const id = deviceId('disk', device.disk.name)
  return jsonOption('-device', {
    driver: 'virtio-blk-pci',
    id,
    ...bus.place(id),
    'disable-legacy': 'on',
    drive: device.node,
    serial: device.serial,
    bootindex: device.bootIndex,
    iothread: device.ioThread,
    'num-queues': Math.min(input.spec.cpu.count, mostDiskQueues),
    discard: device.disk.discard === 'unmap',
    'write-cache': 'on',
    // A guest whose storage fails is paused with its request kept, never given an I/O error.
    werror: 'stop',
    rerror: 'stop',
  })
}
