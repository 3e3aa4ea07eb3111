/**
 * Which rounds of the crash suite a run plays. A run that has little time kills a daemon at every failpoint once, though many operations
 * reach it, and plays of the other kills and of the steps that fail a share that is another for each commit.
 *
 *     KVASIR_CRASH_SHARE=4 KVASIR_TURN=9d3abc0 npm run test:e2e -- crash
 */
import { createHash } from 'node:crypto'
import type { FailpointAction } from './failpoints.ts'

/** What a run plays of the rounds that it may leave out. */
export interface CrashShare {
  /** Of how many such rounds it plays one. */
  readonly oneOf: number
  /** Which ones: another word, other rounds. */
  readonly turn: string
}

/** The share that the environment names; all of it when it names none. Throws when it is no number from 1. */
export function crashShareOf(environment: Readonly<Record<string, string | undefined>>): CrashShare {
  const oneOf = Number(environment['KVASIR_CRASH_SHARE'] ?? 1)
  if (!Number.isSafeInteger(oneOf) || oneOf < 1)
    throw new Error('KVASIR_CRASH_SHARE says of how many rounds one is played, from 1.')
  return { oneOf, turn: environment['KVASIR_TURN'] ?? '' }
}

/** Chooses rounds, and remembers at which failpoints a daemon was killed. */
export function chooseRounds({
  oneOf,
  turn,
}: CrashShare): (operation: string, point: string, what: FailpointAction) => boolean {
  const killed = new Set<string>()
  return (operation, point, what) => {
    const isFirst = what === 'exit' && !killed.has(point)
    const digest = createHash('sha256').update(`${turn} ${operation} ${point} ${what}`).digest()
    const isChosen = isFirst || digest.readUInt32BE() % oneOf === 0
    if (isChosen && what === 'exit') killed.add(point)
    return isChosen
  }
}

/** Rounds on one backend where nobody asks for others; a guest that was killed takes some ten seconds until it writes again. */
const usualRounds = 8

/**
 * How many rounds are played on the backend at a place in the list of them: `KVASIR_CRASH_ROUNDS`, or a few. A run that plays a share
 * plays some on one backend, another one for each commit, and none on the others.
 */
export function servedRounds(
  environment: Readonly<Record<string, string | undefined>>,
  place: 0 | 1,
): number {
  const asked = environment['KVASIR_CRASH_ROUNDS']
  if (asked !== undefined) return Number(asked)
  const share = crashShareOf(environment)
  if (share.oneOf === 1) return usualRounds
  return numberOf(share.turn) % 2 === place ? Math.ceil(usualRounds / share.oneOf) : 0
}

/** A number that is another one for each turn. */
export function numberOf(turn: string): number {
  return createHash('sha256').update(turn).digest().readUInt32BE()
}
