/** What a pool that is asked for is made of, as its row remembers it. */
import { resolve } from 'node:path'
import { KvasirError, type NewIscsiPool, type NewPool } from '@kvasir/contract'
import type { IscsiSource, PoolSource } from '../../ports/pool-source.ts'
import type { Store } from '../../ports/store.ts'
import { requireSecret } from '../secrets/secret-use.ts'

/** The source of a new pool. `secret-not-found`, `bad-request` for what is at odds with itself. */
export function poolSource(wanted: NewPool, store: Store): PoolSource {
  switch (wanted.type) {
    case 'dir':
      return { type: 'dir', path: resolve(wanted.path) }
    case 'lvm':
      return { type: 'lvm', vg: wanted.vg, devices: wanted.devices }
    case 'lvm-thin': {
      const { vg, devices, thinPool, size } = wanted
      return { type: 'lvm-thin', vg, devices, thinPool, sizeBytes: size }
    }
    case 'nfs': {
      const { type, server, direct } = wanted
      return { type, server: server.toLowerCase(), export: resolve(wanted.export), direct }
    }
    case 'iscsi':
      return iscsiSource(wanted, store)
    case 'rbd': {
      const { type, monitors, cephPool, namespace, user, secret, networks } = wanted
      const secretId = secret === undefined ? undefined : requireSecret(secret, store).id
      return { type, monitors, cephPool, namespace, user, secretId, networks }
    }
  }
}

function iscsiSource(wanted: NewIscsiPool, store: Store): IscsiSource {
  const { server, port, target, initiator, user, secret } = wanted
  if ((user === undefined) !== (secret === undefined))
    throw new KvasirError(
      'bad-request',
      `Pool ${wanted.name} needs a user and a secret for CHAP, or neither.`,
    )
  const secretId = secret === undefined ? undefined : requireSecret(secret, store).id
  return { type: 'iscsi', server: server.toLowerCase(), port, target, initiator, user, secretId }
}
