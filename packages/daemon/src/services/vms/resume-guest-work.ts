/** Goes on with what a former daemon had begun with the guest of a VM, if it had. */

import { resumeCheckpoints } from '../checkpoints/checkpoint-handlers.ts'
import type { Context } from '../context.ts'
import { resumeMoves } from '../moves/move-handlers.ts'
import { resumeSetDisks } from './disk-job.ts'
import { resumeMoving } from './moving-job.ts'
import { movingKinds } from './moving-kinds.ts'
import { resumeSetVcpus } from './vcpu-job.ts'

/** Begins the jobs that are not finished. Returns at once; what goes wrong is logged. */
export function resumeGuestWork(id: string, context: Context): void {
  resumeSetVcpus(id, context)
  resumeSetDisks(id, context).catch((error: unknown) =>
    context.ports.log.warn({ vm: id, err: error }, 'the disks of a VM were not brought in line'),
  )
  for (const kind of movingKinds)
    resumeMoving(kind, id, context).catch((error: unknown) =>
      context.ports.log.warn({ vm: id, err: error }, `the ${kind.noun}s of a VM were not brought in line`),
    )
  const driver = context.drivers.get(id)
  if (driver)
    resumeCheckpoints(driver).catch((error: unknown) =>
      context.ports.log.warn({ vm: id, err: error }, 'the checkpoints of a VM were not settled'),
    )
  resumeMoves(id, context).catch((error: unknown) =>
    context.ports.log.warn({ vm: id, err: error }, "the moves of a VM's disks were not gone on with"),
  )
}
