/** The flags of a pool on an NFS server. */
import type { NewPoolInput } from '@kvasir/contract'
import type { Context } from '../context.ts'
import { UsageError } from '../usage-error.ts'

/** The pool of an export that the flags ask for. */
export function nfsPool(context: Context): NewPoolInput {
  const [server, path] = [context.value('server'), context.value('export')]
  if (server === undefined || path === undefined)
    throw new UsageError(
      '--server and --export are needed.',
      'Write --server 192.0.2.7 --export /srv/vms, for example.',
    )
  const direct = context.has('direct') ? { direct: true } : {}
  return { type: 'nfs', name: context.argument('POOL'), server, export: path, ...direct }
}
