/** What the rows of pools of Ceph say that they are made of. */
import { z } from 'zod'

/** The RBD images of a Ceph pool. */
export const rbdSource = z.object({
  type: z.literal('rbd'),
  monitors: z.array(z.string().min(1)).min(1),
  cephPool: z.string().min(1),
  namespace: z.string().optional(),
  user: z.string().min(1),
  secretId: z.string().optional(),
  networks: z.array(z.string()),
})
