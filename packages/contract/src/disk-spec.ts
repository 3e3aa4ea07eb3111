/**
 * A disk of a VM, as the user writes it: which volume, on which bus, and how its requests are carried out.
 *
 * Told apart from the VM's other disks by its name. A field that is left out says what it always said, so what is added here has a
 * default under which the disks that exist stay as they are.
 *
 * Not here: volumes and pools themselves (volume.ts, pool.ts), what a change of a field does to a running VM (the daemon's model/vm).
 */
import { z } from 'zod'
import { diskThrottle } from './disk-throttle.ts'
import { resourceName } from './names.ts'
import { byteSize } from './units.ts'

/** A disk of a VM. Without `volume` one is made at creation: an overlay on `image`, or an empty one of `size`. */
export const diskSpec = z
  .strictObject({
    name: resourceName,
    bus: z.enum(['virtio-blk', 'virtio-scsi']).default('virtio-blk'),
    volume: resourceName.optional(),
    image: z.string().max(128).optional(),
    size: byteSize.optional(),
    pool: resourceName.default('default'),
    readOnly: z.boolean().default(false),
    cache: z.enum(['none', 'writeback', 'unsafe']).default('none'),
    discard: z.enum(['unmap', 'ignore']).default('unmap'),
    ioThread: z.boolean().default(true).meta({ description: 'An I/O thread of its own.' }),
    serial: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,20}$/, 'is not a serial of 1 to 20 letters, digits, dashes and underscores')
      .optional(),
    bootOrder: z.int().min(1).max(255).optional(),
    throttle: diskThrottle.optional().meta({ description: 'Limits, which change while the guest runs.' }),
  })
  .meta({ id: 'DiskSpec' })

export type DiskSpec = z.output<typeof diskSpec>
