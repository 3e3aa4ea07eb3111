/** The endpoints of disks that move. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { job } from './job.ts'
import { resourceName } from './names.ts'
import { wait } from './parameters.ts'
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
      'Move a disk to another pool or format, while the guest runs too; it depends on no other volume then',
    params: byDisk,
    query: wait,
    body: z.strictObject({
      pool: resourceName.optional().meta({ description: 'That of its volume unless said.' }),
      format: z
        .enum(volumeFormats)
        .optional()
        .meta({ description: 'That of its volume where the pool has it.' }),
      speed: byteSize.default(0).meta({ description: 'What is copied in a second at most; 0 for no limit.' }),
      keep: z.boolean().default(false).meta({ description: 'Keep the former volume.' }),
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
