/** The rows of secrets, which never hold what a secret is; that is in a file of its own. */
import { z } from 'zod'
import type { SecretRecord, Store } from '../ports/store.ts'
import type { Database } from './database.ts'
import { namedRows } from './named-rows.ts'

const secretContent = z.object({
  id: z.string().min(1),
  name: z.string().min(1),
  phase: z.enum(['creating', 'ready', 'changing', 'deleting']),
  createdAt: z.string(),
})

/** The repository of the rows of secrets. */
export function secretRows(database: Database): Store['secrets'] {
  return namedRows(database, {
    table: 'secrets',
    noun: 'secret',
    notFound: 'secret-not-found',
    remains: 'its file is',
    parse: (content): SecretRecord | undefined => secretContent.safeParse(content).data,
  })
}
