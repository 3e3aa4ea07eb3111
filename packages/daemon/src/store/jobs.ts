/** The rows of jobs: all that run, and the last that ended. A row that cannot be read stands for nothing and is passed over. */
import { type Job, job as jobSchema } from '@kvasir/contract'
import type { Store } from '../ports/store.ts'
import type { Database, SqlRow } from './database.ts'

/** The repository of jobs; `kept` is how many ended ones stay. */
export function jobRows(database: Database, kept: number): Store['jobs'] {
  const put = (job: Job) => {
    const running = job.state === 'running' ? 1 : 0
    database.transaction(() => {
      database.run(
        `INSERT INTO jobs (id, running, content) VALUES (?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET running = excluded.running, content = excluded.content`,
        job.id,
        running,
        JSON.stringify(job),
      )
      if (running === 0)
        database.run(
          `DELETE FROM jobs WHERE running = 0 AND seq <= (
             SELECT seq FROM jobs WHERE running = 0 ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
          kept,
        )
    })
  }

  return {
    list: (limit) =>
      database
        .all('SELECT content FROM jobs ORDER BY seq DESC LIMIT ?', limit)
        .flatMap((row) => parseJob(row) ?? []),
    get(id) {
      const row = database.get('SELECT content FROM jobs WHERE id = ?', id)
      return row && parseJob(row)
    },
    put,
    endAbandoned: (at, error) =>
      database.transaction(() => {
        const ended = database
          .all('SELECT content FROM jobs WHERE running = 1 ORDER BY seq')
          .flatMap((row) => parseJob(row) ?? [])
          .map((job): Job => ({ ...job, state: 'failed', endedAt: at, error }))
        for (const job of ended) put(job)
        database.run('DELETE FROM jobs WHERE running = 1') // What could not be read.
        return ended
      }),
  }
}

function parseJob(row: SqlRow): Job | undefined {
  try {
    return jobSchema.parse(JSON.parse(String(row['content'])))
  } catch {
    return undefined
  }
}
