/** What is asked for to make a pool of the disks of an iSCSI target. */
import { z } from 'zod'
import { resourceName } from './names.ts'
import { layersIn } from './pool.ts'
import { storageServer } from './storage-server.ts'

/** A name of iSCSI: iqn., eui. or naa. (RFC 7143, section 4.2.7). */
const iscsiName = z
  .string()
  .max(223)
  .regex(
    /^(?:iqn|eui|naa)\.[a-z0-9][a-z0-9.:_-]*$/,
    'is not the name of an initiator or a target, such as iqn.2026-01.example:disks',
  )

export const newIscsiPool = z.strictObject({
  type: z.literal('iscsi'),
  name: resourceName,
  server: storageServer.meta({ description: 'The portal: an address or a name.' }),
  port: z.int().min(1).max(65_535).default(3260),
  target: iscsiName,
  initiator: iscsiName
    .default('iqn.2008-11.org.linux-kvm:kvasir')
    .meta({ description: 'What the target is told of who asks; it may let in only those that it knows.' }),
  user: z.string().min(1).max(255).optional().meta({ description: 'The user of CHAP, with a secret.' }),
  secret: resourceName.optional().meta({ description: 'The secret of CHAP.' }),
  layersIn,
  autostart: z.boolean().default(true),
  force: z.boolean().default(false),
})

export type NewIscsiPool = z.output<typeof newIscsiPool>
