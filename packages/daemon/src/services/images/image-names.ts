/**
 * The names that people gave to images: a row each, beside files that describe themselves.
 *
 * Files come before the row when an image is made, and go before the row when it is deleted; a daemon that died in between is
 * followed by `settleImageNames`, which goes on from what the files say.
 */
import type { Context } from '../context.ts'
import { listImages } from './find-image.ts'

/** Jobs among which the one is looked for that made an image: more than may run. */
const lookedThroughJobs = 1_000

/**
 * A name goes to the image that was made last; the one that had it is known by its id from then on. `commit` writes that in one
 * transaction, with what else belongs to it.
 */
export async function giveName(
  { id, name }: { readonly id: string; readonly name: string },
  context: Context,
  commit: (write: () => void) => void,
): Promise<void> {
  const { store } = context.ports
  const all = await listImages(context.ports)
  context.goneImages.delete(id)
  commit(() => {
    for (const other of all)
      if (other.name === name && other.id !== id)
        store.imageNames.set(other.id, `${name.slice(0, 50)}-${other.id.slice(0, 12)}`)
    store.imageNames.set(id, name)
    context.emit('image.added', name, { id })
  })
}

/** The files of an image are gone, so its name goes too. */
export function forgetImage(image: { readonly id: string; readonly name: string }, context: Context): void {
  const { store } = context.ports
  store.transaction(() => {
    store.imageNames.remove(image.id)
    context.emit('image.deleted', image.name, { id: image.id })
  })
}

/** The job of the former daemon that made an image without a row has done its work. */
function concludeFor(
  image: { readonly id: string; readonly name: string },
  write: () => void,
  context: Context,
): void {
  const { store, clock } = context.ports
  const makers = store.jobs
    .list(lookedThroughJobs)
    .filter(
      ({ state, subject }) => state === 'running' && subject.kind === 'image' && subject.name === image.name,
    )
  store.transaction(() => {
    write()
    const [job, ...others] = makers
    if (!job || others.length > 0) return // Which of several made it, nobody can say.
    store.jobs.put({ ...job, state: 'succeeded', progress: 1, result: image.id, endedAt: clock.now() })
    context.emit('job.ended', job.id, { state: 'succeeded' })
  })
}

/** Brings rows and files together after a daemon has died between them. */
export async function settleImageNames(context: Context): Promise<void> {
  const { store, images } = context.ports
  const found = await images.list()
  const rows = store.imageNames.list()
  const named = new Set(rows.map((row) => row.id))
  for (const image of found.images)
    if (!named.has(image.id)) await giveName(image, context, (write) => concludeFor(image, write, context))
  const there = new Set([...found.images, ...found.unreadable].map(({ id }) => id))
  for (const row of rows) if (!there.has(row.id)) forgetImage(row, context)
}
