/** Answers to requests that carried an idempotency key: kept for a day, and at most so many. */
import type { Store } from '../ports/store.ts'
import type { Database } from './database.ts'

const DAY_MS = 24 * 60 * 60 * 1000

export interface IdempotencyOptions {
  readonly kept: number
  /** The time of day, ISO 8601. */
  readonly now: () => string
}

/** The repository of remembered answers. */
export function idempotencyRows(database: Database, options: IdempotencyOptions): Store['idempotency'] {
  return {
    find(key) {
      const row = database.get(
        'SELECT request_hash, status, body FROM idempotency WHERE key = ? AND at_ms > ?',
        key,
        Date.parse(options.now()) - DAY_MS,
      )
      if (row === undefined) return undefined
      return {
        requestHash: String(row['request_hash']),
        status: Number(row['status']),
        body: String(row['body']),
      }
    },
    remember(key, answer, at) {
      const atMs = Date.parse(at)
      database.transaction(() => {
        database.run(
          `INSERT INTO idempotency (key, request_hash, status, body, at_ms) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT (key) DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status,
             body = excluded.body, at_ms = excluded.at_ms`,
          key,
          answer.requestHash,
          answer.status,
          answer.body,
          atMs,
        )
        database.run('DELETE FROM idempotency WHERE at_ms <= ?', atMs - DAY_MS)
        database.run(
          `DELETE FROM idempotency WHERE at_ms < (
             SELECT at_ms FROM idempotency ORDER BY at_ms DESC LIMIT 1 OFFSET ?)`,
          options.kept - 1,
        )
      })
    },
    forgetJob(jobId) {
      database.transaction(() =>
        database.run(
          "DELETE FROM idempotency WHERE json_valid(body) AND json_extract(body, '$.id') = ?",
          jobId,
        ),
      )
    },
  }
}
