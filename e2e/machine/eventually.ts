/** Waiting for what has no event: asks again and again until the answer is right or the time is over. */
import { setTimeout as pause } from 'node:timers/promises'
import { patient } from './patience.ts'

/** How long an emulated machine is left alone between two questions. */
const longestPauseMs = 1_000

/** How long to wait and how often to ask (both times KVASIR_PATIENCE), and what is waited for, for the sentence. */
export interface Patience {
  readonly withinMs: number
  readonly everyMs?: number
  readonly what: string
  /** Which errors count as no answer yet; all of them when nothing is said. */
  readonly isPassing?: (error: unknown) => boolean
}

/** Asks until the answer is neither `undefined` nor `false`, and gives it. An error of `ask` counts as none; the last one is the cause of what is thrown. */
export async function eventually<T>(
  ask: () => Promise<T | undefined | false>,
  patience: Patience,
): Promise<T> {
  const withinMs = patient(patience.withinMs)
  const deadline = performance.now() + withinMs
  let cause: unknown
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== undefined && answer !== false) return answer
      cause = undefined
    } catch (error) {
      if (patience.isPassing?.(error) === false) throw error
      cause = error
    }
    if (performance.now() >= deadline) {
      const why = cause instanceof Error ? ` The last answer was: ${cause.message}` : ''
      throw new Error(`${patience.what}: not within ${withinMs / 1000} s.${why}`, { cause })
    }
    await pause(Math.min(patient(patience.everyMs ?? 50), longestPauseMs))
  }
}
