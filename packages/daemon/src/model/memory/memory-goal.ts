/** How far a guest has come with the memory that it was asked to take or to give back. */
import { formatBytes } from '@kvasir/contract'

/** What a guest was asked for: `balloon` counts what the balloon leaves to it, `plugged` what is plugged. */
export interface MemoryGoal {
  readonly name: string
  readonly what: 'balloon' | 'plugged'
  readonly fromBytes: number
  readonly toBytes: number
}

export interface MemoryProgress {
  readonly isReached: boolean
  /** From 0 to 1. */
  readonly fraction: number
  /** A clause: `the guest of VM web1 gave back 300 MiB of 512 MiB`. */
  readonly sentence: string
}

/** Judges what the guest has now against what it is to have. */
export function judgeProgress(goal: MemoryGoal, nowBytes: number): MemoryProgress {
  const { fromBytes, toBytes } = goal
  const takes = toBytes > fromBytes
  const asked = Math.abs(toBytes - fromBytes)
  const done = Math.max(0, takes ? nowBytes - fromBytes : fromBytes - nowBytes)
  const isReached = takes ? nowBytes >= toBytes : nowBytes <= toBytes
  return {
    isReached,
    fraction: asked === 0 ? 1 : Math.min(1, done / asked),
    sentence: `the guest of VM ${goal.name} ${verb(goal.what, takes)} ${formatBytes(Math.min(done, asked))} of ${formatBytes(asked)}`,
  }
}

function verb(what: MemoryGoal['what'], takes: boolean): string {
  if (what === 'balloon') return takes ? 'took back' : 'gave up'
  return takes ? 'took' : 'gave back'
}
