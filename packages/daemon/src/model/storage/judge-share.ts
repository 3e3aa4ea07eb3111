/**
 * Whether a folder of the host can be a share: what a guest can write in it as root must be nobody's but its own.
 *
 * Not here: that nothing in its path becomes a link after it was looked at, which the cage of its server sees to (host/cage/launcher.pl).
 */
import { KvasirError } from '@kvasir/contract'

/** What was seen of a folder. */
export interface SeenFolder {
  /** As the user wrote it. */
  readonly folder: string
  /** In the words of stat(1); undefined where there is nothing. */
  readonly kind: string | undefined
  /** Where its links lead. */
  readonly real: string
}

/** Why a folder is not shared; undefined where it can be. `own` are folders that hold what is the daemon's, with what each is. */
export function judgeShare(
  { folder, kind, real }: SeenFolder,
  own: readonly { readonly path: string; readonly what: string }[],
): KvasirError | undefined {
  const refuse = (code: 'file-not-found' | 'bad-request', what: string) =>
    new KvasirError(code, `The folder ${folder} ${what}, so it is not shared.`, { details: { folder } })
  if (kind === undefined) return refuse('file-not-found', 'does not exist')
  if (kind !== 'directory') return refuse('file-not-found', `is a ${kind} and not a folder`)
  if (real !== plain(folder))
    return refuse('bad-request', `leads through a link to ${real}; name that, if it is what is meant`)
  for (const { path, what } of own) {
    if (isWithin(real, path)) return refuse('bad-request', `is ${what}`)
    if (isWithin(path, real)) return refuse('bad-request', `holds ${what} (${path})`)
  }
  return undefined
}

/** Whether a path is another one, or below it. */
function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)
}

function plain(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  return `/${parts.join('/')}`
}
