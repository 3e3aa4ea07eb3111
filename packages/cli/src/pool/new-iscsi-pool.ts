/** The flags of a pool of the disks of an iSCSI target. */
import type { NewPoolInput } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'

/** The pool of a target that the flags ask for. */
export function iscsiPool(context: Context): NewPoolInput {
  const [server, target] = [context.value('server'), context.value('target')]
  if (server === undefined || target === undefined)
    throw new UsageError(
      '--server and --target are needed.',
      'Write --server 192.0.2.7 --target iqn.2026-01.example:disks, for example.',
    )
  const [port, initiator] = [context.number('port'), context.value('initiator')]
  const [user, secret] = [context.value('user'), context.value('secret')]
  return {
    type: 'iscsi',
    name: context.argument('POOL'),
    server,
    target,
    ...(port === undefined ? {} : { port }),
    ...(initiator === undefined ? {} : { initiator }),
    ...(user === undefined ? {} : { user }),
    ...(secret === undefined ? {} : { secret }),
  }
}
