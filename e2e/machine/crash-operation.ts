/** What an operation is whose every step a daemon may die at. */
import type { World } from './world.ts'

/** One operation on the API. */
export interface Operation {
  readonly name: string
  /** The VMs that it changes. */
  readonly about: readonly string[]
  /** Its steps are those of another operation, so only their deaths are tried. */
  readonly onlyDies?: boolean
  /** Only at these points is it tried; at its others, those of another operation are. */
  readonly points?: RegExp
  /** It takes an idempotency key, so who repeats it is answered as if it had not died, whether it was done or not. */
  readonly isKeyed?: boolean
  /** Makes the state in which it can be done, whatever is found. */
  prepare(world: World): Promise<void>
  run(world: World, key: string): Promise<void>
  isDone(world: World): Promise<boolean>
}
