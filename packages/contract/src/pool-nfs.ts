/** What is asked for to make a pool of an export of an NFS server. */
import { z } from 'zod'
import { hostPath, resourceName } from './names.ts'
import { layersIn } from './pool.ts'
import { storageServer } from './storage-server.ts'

export const newNfsPool = z.strictObject({
  type: z.literal('nfs'),
  name: resourceName,
  server: storageServer.meta({ description: 'An address or a name.' }),
  export: hostPath.meta({
    description:
      'The path that the server exports; to this host with no_root_squash, since volumes are root’s.',
  }),
  direct: z.boolean().default(false).meta({
    description: 'Nothing is mounted: QEMU’s own client speaks to the server, and volumes are raw.',
  }),
  layersIn,
  autostart: z.boolean().default(true),
  force: z
    .boolean()
    .default(false)
    .meta({ description: 'Take the export although it is marked as the pool of another daemon.' }),
})
