/** The endpoints of disks that move, or are copied, while the guest runs. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { job } from './job.ts'
import { resourceName } from './names.ts'
import { byName, wait } from './parameters.ts'
import { byteSize } from './units.ts'
import { volumeFormats } from './volume.ts'

const byDisk = z.strictObject({ name: resourceName, disk: resourceName })

/** What can be asked of disks that move. */
export const moveEndpoints = {
  moveDisk: endpoint({
    id: 'moveDisk',
    method: 'POST',
    path: '/v1/vms/{name}/disks/{disk}/move',
    summary:
      'Move a disk to another pool or format, or into a volume that is there, while the guest runs too; its snapshots go along, and without any it depends on no other volume then',
    params: byDisk,
    query: wait,
    body: z.strictObject({
      pool: resourceName.optional().meta({ description: 'That of its volume unless said.' }),
      volume: resourceName.optional().meta({
        description:
          'A volume of the pool that is there and free, which takes the disk in; its format stays.',
      }),
      force: z
        .boolean()
        .default(false)
        .meta({ description: 'That volume may hold something that is recognised; it is written over.' }),
      format: z
        .enum(volumeFormats)
        .optional()
        .meta({ description: 'That of its volume where the pool has it.' }),
      speed: byteSize.default(0).meta({ description: 'What is copied in a second at most; 0 for no limit.' }),
      keep: z.boolean().default(false).meta({
        description: 'Keep the former volume, with what it lies on. Its snapshots go along all the same.',
      }),
    }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  exportVm: endpoint({
    id: 'exportVm',
    method: 'POST',
    path: '/v1/vms/{name}/exports',
    summary: 'Copy disks as they are at one instant to volumes of their own, while the guest runs too',
    params: byName,
    query: wait,
    body: z.strictObject({
      name: resourceName.meta({ description: 'What comes after the name of each volume and a dot.' }),
      pool: resourceName.optional().meta({ description: 'That of each volume unless said.' }),
      format: z.enum(volumeFormats).optional(),
      disks: z
        .array(resourceName)
        .min(1)
        .max(64)
        .optional()
        .meta({ description: 'All that may be written unless said.' }),
      speed: byteSize
        .default(0)
        .meta({ description: 'What is copied of a disk in a second at most; 0 for no limit.' }),
      quiesce: z
        .boolean()
        .default(false)
        .meta({ description: 'The guest agent freezes the file systems meanwhile.' }),
    }),
    response: job,
    status: 202,
    idempotent: true,
  }),
  setMoveSpeed: endpoint({
    id: 'setMoveSpeed',
    method: 'PUT',
    path: '/v1/vms/{name}/disks/{disk}/move/speed',
    summary: 'Change what is copied in a second of a disk that moves',
    params: byDisk,
    body: z.strictObject({ speed: byteSize }),
  }),
} as const
