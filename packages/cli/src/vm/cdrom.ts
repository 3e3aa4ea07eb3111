/** `kvasir vm cdrom`: what is in a drive. */
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { parseVolume } from '../volume/volume-address.ts'
import { sayChanged } from './change-spec.ts'

/** What is put in: a file of the host, or a volume. */
type Medium = { readonly file: string } | { readonly pool: string; readonly volume: string }

export const insertMedium: Action = async (context) => {
  const text = context.argument('PATH|VOLUME')
  await setMedium(context, text.startsWith('/') ? { file: text } : parseVolume(text))
  return undefined
}

export const ejectMedium: Action = async (context) => {
  await setMedium(context, undefined)
  return undefined
}

async function setMedium(context: Context, medium: Medium | undefined): Promise<void> {
  const { client, signal } = context
  const name = context.argument('NAME')
  const before = await client.call(routes.getVm, { params: { name }, signal })
  const after = await client.call(routes.setMedium, {
    params: { name, drive: context.argument('DRIVE') },
    body: { ...medium, force: context.has('force') },
    signal,
  })
  await sayChanged(context, before, after)
}
