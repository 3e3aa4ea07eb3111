/** The backends of pools: which file is behind which type. */
import { join } from 'node:path'
import type { PoolType } from '@kvasir/contract'
import type { JailedTools } from '../../ports/jailed-tools.ts'
import type { PoolBackend, Pools } from '../../ports/pools.ts'
import type { PoolRecord } from '../../ports/store.ts'
import type { SecretValues } from '../files/secret-files.ts'
import { createDirPool } from './dir-pool.ts'
import { withEncryptedRaw } from './encrypted-raw.ts'
import { createIscsiPool } from './iscsi-pool.ts'
import { createLvmPool } from './lvm-pool.ts'
import { createNfsDirectPool } from './nfs-direct-pool.ts'
import { createNfsPool } from './nfs-pool.ts'
import { createRbdPool } from './rbd-pool.ts'

export interface PoolsOptions {
  /** Below it lies the folder of the default pool. */
  readonly stateDir: string
  /** Below it lie the files that tools get. */
  readonly runtimeDir: string
  readonly jailed: JailedTools
  readonly secrets: SecretValues
}

/** Space beside the store that no volume may take, so that the store can always be written. */
const reservedBytes = 64 * 1024 ** 2

/** The types of pools whose raw volumes can be encrypted. */
const encryptsRaw: readonly PoolType[] = ['dir', 'rbd', 'lvm', 'lvm-thin']

/** Opens the backends of pools, each when it is first asked for. */
export function createPools({ stateDir, runtimeDir, jailed, secrets }: PoolsOptions): Pools {
  const backends = new Map<string, PoolBackend>()
  const listeners: ((poolId: string, reason: string) => void)[] = []
  const open = ({ id, source }: Pick<PoolRecord, 'id' | 'source'>): PoolBackend => {
    const onUnreachable = (reason: string) => {
      for (const listener of listeners) listener(id, reason)
    }
    switch (source.type) {
      case 'dir':
        return source.path === undefined
          ? createDirPool({ path: join(stateDir, 'volumes'), mark: '', reservedBytes, jailed, onUnreachable })
          : createDirPool({ path: source.path, mark: id, reservedBytes: 0, jailed, onUnreachable })
      case 'lvm':
      case 'lvm-thin':
        return createLvmPool({ id, source, jailed, onUnreachable })
      case 'nfs':
        if (source.direct) return createNfsDirectPool({ id, source, jailed, onUnreachable })
        return createNfsPool({ id, source, folder: join(stateDir, 'mounts', id), jailed, onUnreachable })
      case 'iscsi':
        return createIscsiPool({ source, secrets, onUnreachable })
      case 'rbd': {
        const directory = join(runtimeDir, 'ceph', id)
        return createRbdPool({ id, place: source, directory, secrets, jailed, onUnreachable })
      }
    }
  }
  return {
    of(pool) {
      const known = backends.get(pool.id)
      if (known) return known
      const plain = open(pool)
      const backend = encryptsRaw.includes(plain.type) ? withEncryptedRaw(plain, jailed) : plain
      backends.set(pool.id, backend)
      return backend
    },
    forget(poolId) {
      backends.get(poolId)?.close()
      backends.delete(poolId)
    },
    close() {
      for (const backend of backends.values()) backend.close()
    },
    onUnreachable: (listener) => void listeners.push(listener),
  }
}
