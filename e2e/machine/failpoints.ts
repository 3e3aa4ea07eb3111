/**
 * The failpoints of a daemon under test: which there are, which were reached, and arming one while the daemon runs.
 *
 * A daemon looks into the file of `environment` at each failpoint, so that no restart is needed to arm the next.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runRefusedDaemon } from './daemon.ts'
import type { Place } from './place.ts'

/** What happens at an armed failpoint. */
export type FailpointAction = 'exit' | 'throw' | 'stop'

/** The failpoints of one place's daemons. */
export interface Failpoints {
  /** For the daemon's first life and the next ones. */
  readonly environment: Readonly<Record<string, string>>
  arm(name: string, action: FailpointAction): Promise<void>
  disarm(): Promise<void>
  /** The names of the points reached so far, in order, each as often as it was. */
  reached(): readonly string[]
}

/** The failpoints of a place. */
export function failpointsOf(place: Place): Failpoints {
  const armed = join(place.base, 'failpoint')
  const log = join(place.base, 'failpoints.log')
  return {
    environment: { KVASIR_FAILPOINT: `@${armed}`, KVASIR_FAILPOINT_LOG: log },
    arm: (name, action) => writeFile(armed, `${name}:${action}`),
    disarm: () => rm(armed, { force: true }),
    reached: () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []),
  }
}

/** The names of all failpoints, which a daemon tells when it is asked for one that does not exist. */
export async function registeredFailpoints(place: Place): Promise<readonly string[]> {
  const { said } = await runRefusedDaemon(place, { KVASIR_FAILPOINT: 'none:exit' })
  const names = /\(there are ([^)]*)\)/.exec(said)?.[1]?.split(', ') ?? []
  assert.ok(names.length > 0, `The daemon names its failpoints, but it said: ${said}`)
  return names
}
