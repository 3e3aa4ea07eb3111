/** A pool that is an export of an NFS server: a folder pool on a mount of its own. */
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { NfsSource } from '../../ports/pool-source.ts'
import type { PoolBackend } from '../../ports/pools.ts'
import { createDirPool } from './dir-pool.ts'
import { NfsMount } from './nfs-mount.ts'

export interface NfsPoolOptions {
  readonly id: string
  readonly source: NfsSource
  /** Where its mount lies. */
  readonly folder: string
  readonly jailed: JailedTools
  readonly onUnreachable: (reason: string) => void
  /** How long mounting may take. */
  readonly deadlineMs?: number
}

/** Opens the backend of an export; it is mounted when it is first claimed or looked at. */
export function createNfsPool(options: NfsPoolOptions): PoolBackend {
  const { id, source, folder, jailed, onUnreachable } = options
  const mount = new NfsMount({ ...options, server: source.server, export: source.export })
  return createDirPool({
    type: 'nfs',
    path: folder,
    place: mount.source,
    ground: mount,
    mark: id,
    reservedBytes: 0,
    jailed,
    onUnreachable,
  })
}
