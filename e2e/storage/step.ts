/** One thing that is done to storage. */
import type { Scene } from './scene.ts'

export interface Step {
  /** A sentence. */
  readonly name: string
  run(scene: Scene): Promise<void>
}
