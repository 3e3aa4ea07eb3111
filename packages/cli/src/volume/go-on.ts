/** How an upload goes on after a part that was not answered: the daemon is asked how far it came. */
import { setTimeout as sleep } from 'node:timers/promises'
import { KvasirError } from '@kvasir/contract/error-table'
import { isBroken } from './download.ts'

const mostAttempts = 10
const againMs = 1_000

/** An upload whose part failed. */
interface Interrupted {
  /** How often a part has been sent since the last one that got somewhere, from 1. */
  readonly attempt: number
  /** From where the part was sent. */
  readonly before: number
  /** Gives from where to go on, as the daemon says it. */
  readonly ask: () => Promise<number>
  readonly signal: AbortSignal
}

/** Gives from where to go on after a connection that broke, or a part that another one had overtaken. Throws what is no such failure, or comes too often. */
export async function whereToGoOn(
  error: unknown,
  { attempt, before, ask, signal }: Interrupted,
): Promise<number> {
  const isBehind = error instanceof KvasirError && error.code === 'revision-mismatch'
  if ((!isBroken(error) && !isBehind) || attempt >= mostAttempts) throw error
  await sleep(againMs, undefined, { signal })
  return await ask().catch((refusal: unknown) => {
    if (isBroken(refusal)) return before
    throw refusal
  })
}
