/**
 * The life of a VM after a start that came to nothing: the one it had before, to whose reason the failure is added, once.
 *
 * So a VM that crashed still says how, and since when, after a start that was refused for want of memory.
 */
import type { VmState } from '@kvasir/contract'

interface Life {
  readonly state: VmState
  readonly reason: string
  readonly since: string
}

/** The reason of a VM that nobody has started. */
export const neverStarted = 'it was not started yet'

const failed = 'the last start failed: '

/** The former life with the failure told in its reason. */
export function afterFailedStart<T extends Life>(former: T, why: string): T {
  return { ...former, reason: withFailure(former.reason, why) }
}

function withFailure(reason: string, why: string): string {
  const at = reason.indexOf(failed)
  const rest = at < 0 ? reason : reason.slice(0, at).replace(/; $/, '')
  return rest === '' || rest === neverStarted ? `${failed}${why}` : `${rest}; ${failed}${why}`
}
