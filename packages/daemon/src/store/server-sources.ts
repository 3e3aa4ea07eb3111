/** What the rows of pools on storage servers say that they are made of. */
import { z } from 'zod'

export const serverSources = [
  z.object({
    type: z.literal('iscsi'),
    server: z.string().min(1),
    port: z.int(),
    target: z.string().min(1),
    initiator: z.string().min(1),
    user: z.string().optional(),
    secretId: z.string().optional(),
  }),
  z.object({
    type: z.literal('nfs'),
    server: z.string().min(1),
    export: z.string().min(1),
    direct: z.boolean(),
  }),
] as const
