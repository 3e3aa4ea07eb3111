/** A backend of pools as the steps of storage (steps.ts) see it: how its pool is made, and what its own tools say of what lies there. */
import type { TestContext } from 'node:test'
import type { Volume } from '@kvasir/contract'
import type { World } from '../machine/world.ts'
import type { CommandLine } from './command-line.ts'

export interface StorageBackend {
  readonly name: string
  /** The format of the volumes that the steps make. */
  readonly format: 'raw' | 'qcow2'
  /** Starts its servers, for one world. What it starts ends with the test. */
  open(t: TestContext, world: World, cli: CommandLine): Promise<OpenBackend>
}

/** A command that must be refused, and what it must say. */
export interface BadInput {
  readonly argv: readonly string[]
  readonly says: RegExp
}

export interface OpenBackend {
  /** What follows `kvasir pool create NAME`. */
  readonly pool: readonly string[]
  /** What a user may do wrong when he creates the pool, before it is there. */
  readonly badPools: readonly BadInput[]
  /** What he may do wrong in it. */
  readonly bad: readonly BadInput[]
  /** What volumes are imported from, where the pool makes none. */
  readonly luns?: readonly string[]
  /** How what lies there differs from the volumes that there are to be, in sentences. */
  differences(volumes: readonly Volume[]): Promise<readonly string[]>
  /** Its server is killed and comes again, and what was flushed is still there; not where there is none that could. */
  killServer?(): Promise<void>
  /** Its server neither answers nor ends, until the release. */
  hangServer?(): AsyncDisposable
}
