/**
 * The stored events, numbered without gaps: a number is given in the transaction that stores the event, so one that is rolled back
 * takes its number along. The oldest go in batches. An event that cannot be read back is passed over.
 */
import { type Event, event as eventSchema } from '@kvasir/contract'
import type { Store } from '../ports/store.ts'
import type { Database, SqlRow } from './database.ts'

export interface EventRetention {
  /** The fewest events that stay. */
  readonly kept: number
  /** How many go at once. */
  readonly batch: number
}

/** An event that is stored in no other transaction is a hint; nothing rests on it. */
const ofEventsAlone = { outlives: 'daemon' } as const

/** The repository of events. */
export function eventRows(database: Database, retention: EventRetention): Store['events'] {
  return {
    append(event) {
      return database.transaction(() => {
        const row = database.get('SELECT seq + 1 AS next FROM sqlite_sequence WHERE name = ?', 'events')
        const seq = Number(row?.['next'] ?? 1)
        database.run(
          'INSERT INTO events (seq, at, kind, subject, data) VALUES (?, ?, ?, ?, ?)',
          seq,
          event.at,
          event.kind,
          event.subject,
          JSON.stringify(event.data),
        )
        if (seq % retention.batch === 0)
          database.run('DELETE FROM events WHERE seq <= ?', seq - retention.kept)
        return { seq, ...event }
      }, ofEventsAlone)
    },
    read: (after, limit) =>
      database
        .all('SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?', after, limit)
        .flatMap((row) => parseEvent(row) ?? []),
    range() {
      const row = database.get('SELECT min(seq) AS oldest, max(seq) AS latest FROM events')
      return { oldest: Number(row?.['oldest'] ?? 0), latest: Number(row?.['latest'] ?? 0) }
    },
  }
}

function parseEvent(row: SqlRow): Event | undefined {
  try {
    return eventSchema.parse({ ...row, data: JSON.parse(String(row['data'])) })
  } catch {
    return undefined
  }
}
