/** The verbs of secrets. */
import type { Secret } from '@kvasir/contract'
import { routes } from '@kvasir/contract/routes'
import type { Action } from '../command.ts'
import { confirm } from '../confirm.ts'
import { localTime } from '../output/time.ts'
import { UsageError } from '../usage-error.ts'
import { readSecret } from './read-secret.ts'

export const listSecrets: Action = async ({ client, output, signal }) => {
  const secrets = await client.call(routes.listSecrets, { signal })
  await output.rows<Secret>(
    secrets,
    [
      { title: 'NAME', show: (secret) => secret.name },
      { title: 'CREATED', show: (secret) => localTime(secret.createdAt) },
      { title: 'USED BY', show: (secret) => secret.usedBy.join(', ') },
    ],
    'There are no secrets.',
  )
  return undefined
}

export const showSecret: Action = async (context) => {
  const { client, output, signal } = context
  const params = { secret: context.argument('SECRET') }
  const secret = await client.call(routes.getSecret, { params, signal })
  await output.properties(secret, () => ({
    Name: secret.name,
    Created: localTime(secret.createdAt),
    'Used by': secret.usedBy.length === 0 ? 'nobody' : [...secret.usedBy],
  }))
  return undefined
}

export const createSecret: Action = async (context) => {
  const name = context.argument('SECRET')
  const file = context.value('file')
  if ((file === undefined) === !context.has('generate'))
    throw new UsageError(
      'Either --file or --generate is needed.',
      'Write --file FILE, --file - for stdin, or --generate.',
    )
  const body =
    file === undefined ? { name, generate: true as const } : { name, value: await readSecret(file) }
  const secret = await context.client.call(routes.createSecret, { body, signal: context.signal })
  if (context.output.format === 'table') context.output.message(`Secret ${name} is kept.`)
  else await context.output.result(secret, () => '')
  return undefined
}

export const setSecret: Action = async (context) => {
  const params = { secret: context.argument('SECRET') }
  const file = context.value('file')
  if (file === undefined)
    throw new UsageError('--file is needed.', 'Write --file FILE, or --file - for stdin.')
  const body = { value: await readSecret(file) }
  const secret = await context.client.call(routes.setSecret, { params, body, signal: context.signal })
  if (context.output.format === 'table') context.output.message(`Secret ${params.secret} is another one now.`)
  else await context.output.result(secret, () => '')
  return undefined
}

export const deleteSecret: Action = async (context) => {
  const params = { secret: context.argument('SECRET') }
  if (!(await confirm(context, `Delete secret ${params.secret}? What it is cannot be had back.`))) return 1
  await context.client.call(routes.deleteSecret, { params, signal: context.signal })
  context.output.message(`Secret ${params.secret} is deleted.`)
  return undefined
}
