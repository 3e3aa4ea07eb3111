/** `kvasir vm balloon` and `kvasir vm memory`: memory that a running guest is given or asked for. */
import { routes } from '@kvasir/contract/routes'
import { formatBytes } from '@kvasir/contract/size'
import type { Action } from '../command.ts'
import type { Context } from '../context.ts'
import { followJob, startQuery } from '../follow-job.ts'

export const fillBalloon: Action = async (context) => {
  const name = context.argument('NAME')
  const words = context.argument('SIZE')
  const { client, signal } = context
  const target =
    words === 'all' ? (await client.call(routes.getVm, { params: { name }, signal })).spec.memory.size : words
  await resize(context, { target }, (size) => `The guest of VM ${name} has ${size} left to it.`)
  return undefined
}

export const plugMemory: Action = async (context) => {
  const name = context.argument('NAME')
  const size = context.argument('SIZE')
  await resize(context, { size }, (has) => `The guest of VM ${name} has ${has}.`)
  return undefined
}

async function resize(
  context: Context,
  wanted: { readonly size?: string; readonly target?: string | number },
  done: (size: string) => string,
): Promise<void> {
  const { client, signal } = context
  const params = { name: context.argument('NAME') }
  const timeoutSeconds = context.number('timeout')
  const body = { ...wanted, ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }) }
  const query = startQuery(context)
  const job = await client.call(routes.resizeVmMemory, { params, query, body, signal })
  const { memory } = (await client.call(routes.getVm, { params, signal })).spec
  await followJob(context, job, () => done(formatBytes(memory.target ?? memory.size)))
}
