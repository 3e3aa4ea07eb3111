/**
 * Who has which UIDs. A VM has two in a row: the first for its emulator, the next for its network helpers. A pair is given out again
 * only when no VM has it and the host has been booted since it was used, so that nothing left of one VM ever belongs to another.
 *
 * The range lies above what directories map users to (sssd: 200000 to 2000200000), above containers (systemd-nspawn: 524288 to
 * 1879048191) and subordinate UIDs (from 100000), and below the foreign range of systemd (2147352576) and 2^31. The systemd ranges
 * are in https://systemd.io/UIDS-GIDS.
 */
import { KvasirError } from '@kvasir/contract'
import type { Store } from '../ports/store.ts'
import type { Database } from './database.ts'

export interface UidRange {
  /** The first UID; even or odd does not matter. */
  readonly first: number
  /** How many UIDs, two for each VM. */
  readonly count: number
}

export const defaultUidRange: UidRange = { first: 2_100_000_000, count: 1_000_000 }

/** The repository of UIDs. */
export function uidRows(database: Database, range: UidRange): Store['uids'] {
  const pairs = Math.floor(range.count / 2)
  const isFree = (uid: number, bootId: string) => {
    const row = database.get('SELECT vm_id, boot_id FROM uids WHERE uid = ?', uid)
    return row === undefined || (row['vm_id'] === null && row['boot_id'] !== bootId)
  }
  const firstFree = (bootId: string): number => {
    const stored = database.get('SELECT next FROM uid_cursor')?.['next']
    const start = Math.max(0, Math.floor((Number(stored ?? range.first) - range.first) / 2))
    for (let step = 0; step < pairs; step++) {
      const uid = range.first + 2 * ((start + step) % pairs)
      if (isFree(uid, bootId)) return uid
    }
    throw new KvasirError(
      'host-failed',
      `All ${pairs} pairs of UIDs from ${range.first} are in use or were used since the host booted, so no VM can be made until it is booted again.`,
    )
  }

  return {
    allocate: (vmId, bootId) =>
      database.transaction(() => {
        const held = database.get('SELECT uid FROM uids WHERE vm_id = ?', vmId)
        if (held !== undefined) return Number(held['uid'])
        const uid = firstFree(bootId)
        database.run(
          `INSERT INTO uids (uid, vm_id, boot_id) VALUES (?, ?, ?)
           ON CONFLICT (uid) DO UPDATE SET vm_id = excluded.vm_id, boot_id = excluded.boot_id`,
          uid,
          vmId,
          bootId,
        )
        database.run(
          'INSERT INTO uid_cursor (one, next) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET next = excluded.next',
          uid + 2,
        )
        return uid
      }),
    release(vmId, bootId) {
      database.transaction(() => {
        database.run('UPDATE uids SET vm_id = NULL, boot_id = ? WHERE vm_id = ?', bootId, vmId)
        database.run('DELETE FROM uids WHERE vm_id IS NULL AND boot_id <> ?', bootId)
      })
    },
    list: () =>
      database.all('SELECT uid, vm_id FROM uids ORDER BY uid').map((row) => ({
        uid: Number(row['uid']),
        vmId: typeof row['vm_id'] === 'string' ? row['vm_id'] : undefined,
      })),
  }
}
