/** The endpoints of CD-ROM drives. */
import { z } from 'zod'
import { endpoint } from './endpoint.ts'
import { hostPath, resourceName } from './names.ts'
import { vm } from './vm.ts'

/** The body of `vm cdrom insert` and `vm cdrom eject`. */
const mediumBody = z
  .strictObject({
    volume: resourceName.optional(),
    pool: resourceName.default('default'),
    file: hostPath.optional().meta({ description: 'A file of the host; without it and a volume, nothing.' }),
    force: z
      .boolean()
      .default(false)
      .meta({ description: 'Also from under a guest that has locked the tray.' }),
  })
  .refine(({ volume, file }) => volume === undefined || file === undefined, 'is a volume and a file')
  .meta({ id: 'SetMedium' })

/** What can be asked of the drives of a VM. */
export const driveEndpoints = {
  setMedium: endpoint({
    id: 'setMedium',
    method: 'POST',
    path: '/v1/vms/{name}/drives/{drive}/medium',
    summary: 'Change the medium of a CD-ROM drive',
    params: z.strictObject({ name: resourceName, drive: resourceName }),
    body: mediumBody,
    response: vm,
  }),
} as const
