/** The flags of pools of Ceph. */
import type { NewPoolInput } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'

/** The RBD images of a Ceph pool. */
export function rbdPool(context: Context): NewPoolInput {
  const cephPool = context.value('ceph-pool')
  if (cephPool === undefined)
    throw new UsageError('--ceph-pool is missing.', 'Write --ceph-pool rbd, for example.')
  const monitors = words(context.values('monitors'))
  if (monitors.length === 0)
    throw new UsageError('--monitors is missing.', 'Write --monitors 10.0.0.1,10.0.0.2, for example.')
  const networks = words(context.values('network'))
  const [namespace, user, secret] = ['namespace', 'user', 'secret'].map((flag) => context.value(flag))
  return {
    type: 'rbd',
    name: context.argument('POOL'),
    monitors,
    cephPool,
    ...(namespace === undefined ? {} : { namespace }),
    ...(user === undefined ? {} : { user }),
    ...(secret === undefined ? {} : { secret }),
    ...(networks.length === 0 ? {} : { networks }),
  }
}

function words(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(',')).filter((word) => word !== '')
}
