/** The names of images, by their ids. */
import { KvasirError } from '@kvasir/contract'
import type { Store } from '../ports/store.ts'
import type { Database } from './database.ts'

/** The repository of image names. */
export function imageNameRows(database: Database): Store['imageNames'] {
  return {
    list: () =>
      database
        .all('SELECT id, name FROM image_names ORDER BY name')
        .map((row) => ({ id: String(row['id']), name: String(row['name']) })),
    set(id, name) {
      database.transaction(() => {
        const holder = database.get('SELECT id FROM image_names WHERE name = ?', name)
        if (holder !== undefined && holder['id'] !== id)
          throw new KvasirError(
            'name-taken',
            `There is an image named ${name}, so the name cannot be given again.`,
          )
        database.run(
          'INSERT INTO image_names (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name',
          id,
          name,
        )
      })
    },
    remove(id) {
      database.transaction(() => database.run('DELETE FROM image_names WHERE id = ?', id))
    },
  }
}
