/** The beginning of an upload, and the question how far it is, which are the same request to the daemon. */
import type { NewUpload, Volume } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { VolumePlace } from '@kvasir/sdk'
import type { Context } from '../context.ts'

type Wanted = Omit<NewUpload, 'force'> & { readonly force?: true }

/** Begins it, or gives the one that was broken off. */
export function beginUpload(context: Context, params: VolumePlace, body: Wanted): Promise<Volume> {
  return context.client.call(routes.beginUpload, { params, body, signal: context.signal })
}

/** How far it is. Never begun anew here, or two senders would do that to each other for ever. */
export function askUpload(context: Context, params: VolumePlace, body: Wanted): Promise<Volume> {
  const { force: _, ...same } = body
  return beginUpload(context, params, same)
}
