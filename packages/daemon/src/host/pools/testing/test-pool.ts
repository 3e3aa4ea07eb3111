/** The default pool in a folder of a test: a backend, and what lies in it. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { JailedTools } from '../../../ports/jailed-tools.ts'
import type { PoolBackend, VolumeKey } from '../../../ports/pools.ts'
import { createDirPool } from '../dir-pool.ts'

/** A pool of qcow2 volumes. */
export interface TestPool {
  readonly folder: string
  readonly pool: PoolBackend
  readonly key: (id: string) => VolumeKey
  /** Where the file of a volume lies. */
  readonly at: (id: string) => string
  /** The ids of the volumes whose files are there, in order. */
  readonly ids: () => readonly string[]
}

const ending = '.qcow2'

/** Opens the default pool in a folder that exists. */
export function openTestPool(t: TestContext, folder: string, jailed: JailedTools): TestPool {
  const pool = createDirPool({ path: folder, mark: '', reservedBytes: 0, jailed, onUnreachable: () => {} })
  t.after(() => pool.close())
  return {
    folder,
    pool,
    key: (id) => ({ id, format: 'qcow2' }),
    at: (id) => join(folder, id + ending),
    ids: () =>
      readdirSync(folder)
        .filter((name) => name.endsWith(ending))
        .map((name) => name.slice(0, -ending.length))
        .toSorted((a, b) => a.localeCompare(b)),
  }
}
