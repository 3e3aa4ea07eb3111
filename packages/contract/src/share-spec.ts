/** Folders of the host that a guest sees as file systems, by virtiofs. */
import { z } from 'zod'
import { hostPath, resourceName } from './names.ts'

/** Of a tag's bytes (virtio 1.2, 5.11.4). */
const longestTag = 36

/** A folder of the host, and what it is called. */
export const shareSpec = z
  .strictObject({
    name: resourceName
      .max(longestTag)
      .meta({ description: 'The tag by which the guest mounts it: mount -t virtiofs NAME /mnt.' }),
    folder: hostPath.meta({ description: 'A folder of the host under its own name, through no link.' }),
    readOnly: z.boolean().default(false),
  })
  .meta({ id: 'ShareSpec' })

export type ShareSpec = z.output<typeof shareSpec>
