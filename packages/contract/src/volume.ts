/** Volumes: disks in pools. A volume's name is unique in its pool. */
import { z } from 'zod'
import { resourceName, sha256 } from './names.ts'
import { bytes, timestamp } from './units.ts'

export const volumeFormats = ['qcow2', 'raw'] as const
export type VolumeFormat = (typeof volumeFormats)[number]

/** One that a volume is an overlay of, the nearest first. */
const ancestor = z.strictObject({
  kind: z.enum(['volume', 'image']),
  name: z.string(),
  pool: resourceName.optional(),
  format: z.enum(volumeFormats),
})

/** A volume: one disk in a pool. */
export const volume = z
  .strictObject({
    name: resourceName,
    pool: resourceName,
    liesIn: resourceName.optional().meta({
      description:
        'The pool that its file lies in, where that is another one: it is a layer over a volume of its pool.',
    }),
    format: z.enum(volumeFormats),
    capacityBytes: bytes,
    allocatedBytes: bytes
      .optional()
      .meta({ description: 'Absent when its pool does not answer or its file is missing.' }),
    path: z.string().optional().meta({ description: 'Its file on the host, where it is one.' }),
    image: sha256.optional().meta({ description: 'The image that it is an overlay of.' }),
    base: resourceName.optional().meta({ description: 'The volume of its pool that it is an overlay of.' }),
    clonedFrom: resourceName.optional().meta({
      description: 'The volume of its pool that it was cloned from, where neither needs the other.',
    }),
    chain: z.array(ancestor).optional().meta({ description: 'All that it is an overlay of, nearest first.' }),
    frozen: z.boolean().optional().meta({
      description: 'A base that nobody writes to; it goes with the last volume that is based on it.',
    }),
    encryption: z
      .strictObject({ secret: resourceName })
      .optional()
      .meta({ description: 'What is on it is encrypted (LUKS), with this secret.' }),
    upload: z
      .strictObject({
        format: z.enum(volumeFormats),
        offsetBytes: bytes.meta({ description: 'How much there is.' }),
        sizeBytes: bytes,
        expiresAt: timestamp.optional().meta({ description: 'When it is removed unless it goes on.' }),
      })
      .optional()
      .meta({ description: 'It is being uploaded, so nothing else is done with it yet.' }),
    usedBy: z.array(resourceName),
    overlays: z.array(z.string()).optional().meta({ description: 'The volumes that are based on it.' }),
    snapshots: z
      .array(z.strictObject({ vm: z.string(), name: resourceName }))
      .optional()
      .meta({ description: 'The snapshots that it is a layer of.' }),
    createdAt: timestamp,
  })
  .meta({ id: 'Volume' })

export type Volume = z.output<typeof volume>
