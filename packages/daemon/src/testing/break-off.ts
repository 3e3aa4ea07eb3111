/** Work on the VM `web1` of a simulated daemon that is broken off at a failpoint, in each way in which that happens. */
import type { FailpointName } from '../ports/failpoints.ts'
import type { SimulatedDaemon } from './simulated-daemon.ts'

/** What happens at the failpoint. */
export const ends = [
  'the daemon dies',
  'the daemon and the emulator die',
  'the emulator dies',
  'the step fails',
] as const
export type End = (typeof ends)[number]

/** What is broken off. */
export interface BrokenWork {
  readonly open: (options: {
    readonly failpoint: (name: FailpointName) => Promise<void>
  }) => Promise<SimulatedDaemon>
  /** Whether `web1` runs. */
  readonly runs: boolean
  /** Begins the work. It resolves when that has ended, which it never does where the daemon dies. */
  readonly begin: (world: SimulatedDaemon, how: { readonly isDeath: boolean }) => Promise<unknown>
}

/** Breaks work off at a failpoint, and gives the daemon that is there afterwards: the same one, or the one that follows it. */
export async function breakOffAt(
  point: FailpointName,
  end: End,
  { open, runs, begin }: BrokenWork,
): Promise<SimulatedDaemon> {
  const reached = Promise.withResolvers<void>()
  let isArmed = false
  let kill = () => {}
  const failpoint = async (name: FailpointName) => {
    if (!isArmed || name !== point) return
    isArmed = false
    reached.resolve()
    if (end === 'the step fails') throw new Error('a step failed')
    if (end === 'the emulator dies') kill()
    else await new Promise(() => {}) // The daemon does no more.
  }
  const first = await open({ failpoint })
  if (runs) kill = () => first.process('web1').dies({ code: undefined, signal: 'SIGKILL' })
  isArmed = true
  const isDeath = end.startsWith('the daemon')
  const work = begin(first, { isDeath })
  await reached.promise
  if (end === 'the daemon and the emulator die') kill()
  if (!isDeath) await work
  return isDeath ? await first.killAndFollow() : first
}
